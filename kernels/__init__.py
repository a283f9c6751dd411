"""The performance core: everything that is compiled, and the threads that compute.

reference.py defines im2col, pooling and Adam as plain loops: read that first. im2col.py,
pooling.py and adam.py are the same loops compiled, optimizers.py and erf.py more of their kind, geometry.py says where
windows lie.
relu_pool.py, elementwise.py and simd/ serve the fast twin of a network (cnn/training/twin.py) alone.
threads.py and blas.py deal with the machine, compiled.py with Numba.
"""

from kernels import blas

blas.ask_for_avx512()  # works only before NumPy is loaded, so it comes first
