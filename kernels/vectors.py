"""Vector code by hand, as LLVM's instructions: for the few loops that Numba cannot make fast.

The kernels written with it (windows.py, winograd.py, sparse.py) all do one thing: they keep
7 to 28 sums in the processor's vector registers and add products to them. The results are
those of the plain loops, to rounding.

After a change here, of windows.relu_pool or of fused.CLOSED delete the kernel cache that `cnn env`
names: Numba looks only at the file of a kernel itself to see whether what it compiled is still right.
"""

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, config

# 32 registers of 16 numbers; else 8 at a time: one of AVX2's 16 registers, two of NEON's 32. NUMBA_CPU_FEATURES may name another processor than this one.
if config.CPU_FEATURES is None:
    AVX512 = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
else:
    AVX512 = "+avx512f" in config.CPU_FEATURES
LANES = 16 if AVX512 else 8
AVAILABLE = not config.DISABLE_JIT  # vector code has no meaning in plain Python

I64 = ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)


class Vectors:
    """Writes LLVM instructions on vectors of LANES float32 numbers."""

    def __init__(self, context, builder, signature, args):
        self.builder, self.args = builder, args
        self.data = lambda k: context.make_array(signature.args[k])(context, builder, args[k]).data
        # a * b + c, in one instruction where the processor has one
        self.fma = builder.module.declare_intrinsic(
            f"llvm.fmuladd.v{LANES}f32", (), ir.FunctionType(VECTOR, [VECTOR] * 3)
        )

    def at(self, base, *steps):
        """The place base + all steps, each an integer value, or a pair of one and a Python number to multiply."""
        for step in steps:
            base = self.builder.add(base, self.builder.mul(step[0], I64(step[1])) if isinstance(step, tuple) else step)
        return base

    def pointer(self, array, place, kind=VECTOR):
        return self.builder.bitcast(self.builder.gep(array, [place]), kind.as_pointer())

    def load(self, array, place, kind=VECTOR, align=4):
        return self.builder.load(self.pointer(array, place, kind), align=align)

    def number(self, array, place):
        """The number at this place in all lanes of a vector."""
        return self.spread(self.builder.load(self.builder.gep(array, [place])), VECTOR)

    def spread(self, value, kind):
        none, lanes = ir.Constant(kind, ir.Undefined), ir.VectorType(ir.IntType(32), kind.count)
        first = self.builder.insert_element(none, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, none, ir.Constant(lanes, None))

    def sums(self, out, places):
        """Sums that begin with what stands at these places; LLVM keeps them in registers."""
        sums = [cgutils.alloca_once(self.builder, VECTOR) for _ in places]
        for total, place in zip(sums, places, strict=True):
            self.builder.store(self.load(out, place), total)
        return sums

    def add_product(self, total, a, b):
        self.builder.store(self.builder.call(self.fma, [a, b, self.builder.load(total)]), total)

    def put_back(self, out, places, sums):
        for total, place in zip(sums, places, strict=True):
            self.builder.store(self.builder.load(total), self.pointer(out, place), align=4)
