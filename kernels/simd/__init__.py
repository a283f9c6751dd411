"""Kernels whose sums stay in the processor's vector registers, for the loops that Numba alone cannot make fast.

Read vectors.py first. conv_pool.py is convolution, ReLU and pooling in one step; winograd.py
the same with fewer products; backward.py the way back, where it pays without the products by zero.
"""
