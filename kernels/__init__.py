"""The performance core. Nothing outside this folder compiles code or starts threads.

im2col, pooling and Adam are plain loops compiled by Numba, defined in reference.py: read
that first. The others (fused, vectors, windows, winograd, sparse) serve cnn/fused.py alone.
"""

from kernels import blas

blas.ask_for_avx512()  # works only before NumPy is loaded, so it comes first
