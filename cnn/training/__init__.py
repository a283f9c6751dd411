"""How a network is trained: what is beside its formulas and need not be read to understand them."""
