"""How fast, how much memory, against whom: `python -m benchmarks` measures it all.

See peers.py, scaling.py, step.py, kernels.py.
peers.py and scaling.py import neither NumPy nor cnn: all work is done in child processes
(child.py), so that each contender starts as clean as in a program of its own. step.py and
kernels.py measure in their own process.
"""
