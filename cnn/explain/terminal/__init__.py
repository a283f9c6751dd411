"""The step-through in a terminal: text for a pipe, and the walk with keys and screens."""
