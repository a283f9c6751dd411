"""What the commands share, and what serves them alone.

options, network, settings and pictures are flags and what they mean; session is a training from its first line to its
result, runs the folders that it keeps, resuming holds one that is taken up to what it says of itself, machines tells
where it was computed; evaluation counts right answers; environment tells about the machine, and interrupts turns Ctrl-C
and SIGTERM into an orderly end.
"""
