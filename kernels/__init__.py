"""The performance core: plain loops over whole arrays, compiled by Numba.

Read reference.py first: it defines what each kernel computes. Nothing outside this
folder knows about Numba or threads.
"""

from kernels import blas

blas.ask_for_avx512()  # works only before NumPy is loaded, so it comes first
