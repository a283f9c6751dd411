"""Several processes learn together, on one machine or many: the same bits on any number of them. By MPI.

    mpiexec -n 4 python -m mpi4py -m cnn train --shards 8

In a script of your own `distribute.use()` before fit does it; fit, evaluate and predict stay as they are, and every
process (a rank, of 0 ... P - 1) runs the same script. `world().rank` tells which one it is.

A batch is cut into a fixed number of shards, and rank r computes the shards r, r + P, r + 2P ... What the library adds
up over a batch is a chain in the order of the shards, s0 + s1 + s2 ..., in each of its kernels, and each term can be
had alone: that was tried with every kind of layer before anything was built on it, and tests/test_ranks.py holds it.
Where a kernel adds up in another form than the gradient's (blocks that fill registers, Winograd's 16 cells) it is the
parts in that form that are exchanged. So the weights are the same bits for 1, 2, 4 or 8 ranks, and for threads alone.

How the chain is added up by P ranks, in two messages a step: rank q gets the q-th P-th of every shard's gradient
(Alltoallv), adds these in the order of the shards, and the sums go to everybody (Allgather). For one shard a rank that
is not more than the fastest Allreduce has to send, 2 G (P - 1) / P numbers of G; with S shards it is
(S / P + 1) G (P - 1) / P. To gather all S gradients everywhere would be S G (P - 1) / P, and P times the additions.
`allreduce=True` adds a rank's own shards first, and the rest in MPI's order: fewer bytes, right to rounding.

BatchNormalization's sums go photo by photo to everybody, in the middle of a pass. Batches of evaluate and predict are
taken in turn. What a callback of one rank decides (to stop), all ranks hear of before the next step. Everybody has all
photos, and all optimizers do the same: what is sent are gradients alone.
"""

import os
import platform
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

import cnn
from cnn.network import Network
from cnn.training.run import Run, differences
from cnn.world import ALONE, Alone, Parts, Share, Unfinished
from kernels import blas, threads

Array = np.ndarray
LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # how many ranks those of MPICH and Open MPI have started
INSTALL = 'pip install "numpy-cnn[mpi]"'
BITS = ("NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT", "OPENBLAS_CORETYPE")
AWAKE = 0.5  # seconds for which a rank waits awake; one that waits longer leaves its core to others
TESTS = 200  # of a message between two rests: each moves a piece of it, where it is large and on its way


def use(comm: Any = None, allreduce: bool = False) -> "World":
    """All models of this process learn together with those of all other ranks from now on. A group of one does nothing.

    comm: an mpi4py communicator (default: all processes that the launcher started). allreduce: the faster exchange,
    right to rounding only. The cores of a machine are shared out among its ranks.
    Raises ImportError without MPI, ValueError where the ranks have other versions or kernels than each other.
    """
    started = max(int(os.environ.get(name) or 1) for name in LAUNCHERS)
    found = World(_mpi().COMM_WORLD if comm is None else comm, allreduce)
    if comm is None and found.size == 1 < started:
        raise ImportError(
            f"mpi4py: expected {started} ranks, as the launcher has started, and sees itself alone: "
            "the launcher belongs to another MPI than mpi4py does; take the mpiexec that came with it"
        )
    found.require_same(kernels_here())
    Network.world = found if found.size > 1 else ALONE
    if found.size > 1:
        threads.set_threads(found.cores())
    return found


def world() -> Alone:
    """The ranks that learn together; one alone where nobody has said `use`."""
    return Network.world


def _mpi() -> Any:
    """mpi4py's MPI. Raises ImportError, one sentence."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the second: mpi4py finds no library of MPI
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImportError(f"several ranks need mpi4py and an MPI ({reason}): {INSTALL}") from None
    return MPI


def kernels_here() -> dict[str, str]:
    """What must be the same on all ranks, or their optimizers would drift apart by last bits."""
    import llvmlite.binding as llvm
    import numba

    features = zlib.crc32(llvm.get_host_cpu_features().flatten().encode())
    return {
        "numpy-cnn": cnn.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "Numba": numba.__version__,
        "processor's kernels": f"{llvm.get_host_cpu_name()}, features {features:08x}",
        "BLAS kernels": str(blas.core_name()),
        **{name: os.environ.get(name, "not set") for name in BITS},
    }


class World(Alone):
    """A group of ranks, by an mpi4py communicator."""

    def __init__(self, comm: Any, allreduce: bool = False):
        self.comm, self.allreduce = comm, allreduce
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.leads = self.rank == 0
        self.arrays: dict[tuple, Array] = {}

    def __deepcopy__(self, memo: dict) -> "World":
        return self  # a communicator has no copy; a model's copy learns with the same ranks

    def share(self, shards: list[slice]) -> Share:
        return Share(shards) if self.size == 1 else PartOfBatch(self, shards)

    # ---- what is said once or seldom, as objects

    def broadcast(self, value: Any = None) -> Any:
        return self.comm.bcast(value)

    def of_each(self, value: Any) -> list:
        return self.comm.allgather(value)

    def require_same(self, told: dict[str, Any]) -> None:
        name = platform.node()
        (first, home), *others = self.of_each((told, name))
        for rank, (other, host) in enumerate(others, start=1):
            for place, ours, theirs in differences("", first, other):
                here, there = f"rank 0 ({home})", f"rank {rank} ({host})"
                place = place.removeprefix(".")
                raise ValueError(f"the ranks differ: {place}: {here} has {ours}, {there} has {theirs}")

    def cores(self) -> int:
        """How many threads a rank may use, so that those of one machine share its cores."""
        mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        neighbours = [cores for host, cores in self.of_each((platform.node(), set(mine))) if host == platform.node()]
        return max(1, min(len(mine), len(set().union(*neighbours)) // len(neighbours)))

    def in_turn(self, task: Callable[[Any], Any], parts: list) -> Iterator:
        for start in range(0, len(parts), self.size):
            turn = parts[start : start + self.size]
            mine = [task(part) for part in turn[self.rank : self.rank + 1]]
            for found in self.of_each(mine):
                yield from found

    def follow(self, run: Run) -> None:
        network = run.model
        try:
            mine = run.state()
        except ValueError:  # a generator
            raise ValueError(
                f"{network}: fit: ranks cannot share a generator, of which nobody can tell whether all read the same: "
                "pass arrays, or an object with __len__ and __getitem__"
            ) from None
        layers = [(type(layer).__name__, name) for name, layer in network.flat()]
        kinds = {"layers": layers, "optimizer": type(network.optimizer).__name__, "loss": type(network.loss).__name__}
        heard = [name for name, callback in run.callbacks.items() if not callback.only_writes]
        mine.callbacks = {name: kept for name, kept in mine.callbacks.items() if name in heard}
        self.require_same({"settings": mine.settings, "photos (SHA-256)": mine.data, "callbacks": heard, **kinds})
        optimizer: dict = network.optimizer.__getstate__()  # type: ignore[assignment, union-attr]  # fit has one
        saved = SimpleNamespace(weights=network.get_weights(), optimizer=SimpleNamespace(**optimizer))
        vars(saved).update(epoch=network.epoch, shards=network.shards, seed=network.seed)
        state, saved = self.broadcast((mine, saved) if self.leads else None)
        if not self.leads:
            saved.get_weights = lambda: saved.weights
            network.seed = saved.seed
            run.restore(saved, state, "rank 0")

    def agree(self, network: Network) -> None:
        flags = np.array([network.stop_training, network.stop_after_batch], np.int8)
        found = np.empty_like(flags)
        self.wait(self.comm.Iallreduce(flags, found, op=_mpi().MAX))
        network.stop_training, network.stop_after_batch = map(bool, found)

    # ---- what is said in each step, as numbers

    def wait(self, request: Any) -> None:
        """Until a message has come. Python hears signals meanwhile, and other ranks get the core."""
        begun = time.monotonic()
        while not request.Test():
            if time.monotonic() - begun > AWAKE:
                if any(request.Test() for _ in range(TESTS)):
                    return
                time.sleep(1e-3)
            elif hasattr(os, "sched_yield"):
                os.sched_yield()

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array that stays from step to step."""
        key = name, shape, dtype
        if key not in self.arrays:
            self.arrays = {other: array for other, array in self.arrays.items() if other[0] != name}
            self.arrays[key] = np.zeros(shape, dtype)
        return self.arrays[key]

    def rows(self, rows: Array, counts: list[int]) -> Array:
        """The rows of all ranks, of which each has so many, one rank after the other."""
        rows = np.ascontiguousarray(rows)
        found = np.empty((sum(counts), *rows.shape[1:]), rows.dtype)
        size = rows.nbytes // max(1, len(rows))  # bytes; of one rank that is not heard, nothing is sent
        mine = rows[: counts[self.rank]]
        sizes = [count * size for count in counts]
        byte = _mpi().BYTE
        self.wait(self.comm.Iallgatherv([mine, byte], [found, sizes, None, byte]))
        return found

    def sums(self, flat: Array, owners: list[int]) -> Array:
        """sum over shards s, in this order, of its numbers (G,), from those of a rank's own (own shards, G).

        owners: how many shards each rank has; shard s is that of rank s % P. G is a multiple of P.
        """
        own, numbers = flat.shape
        length = numbers // self.size
        if self.allreduce:
            total = self.buffer("total", (numbers,), flat.dtype)
            np.add.reduce(flat, axis=0, out=total)  # 0 where it has none
            self.wait(self.comm.Iallreduce(_mpi().IN_PLACE, total))
            return total
        sent = flat.reshape(own, self.size, length).swapaxes(0, 1)
        if own > 1:
            packed = self.buffer("packed", sent.shape, flat.dtype)
            packed[...] = sent
            sent = packed
        terms = self.buffer("terms", (sum(owners), length), flat.dtype)
        kind = _mpi().FLOAT if flat.dtype == np.float32 else _mpi().DOUBLE
        counts = [[own * length] * self.size, [count * length for count in owners]]
        self.wait(self.comm.Ialltoallv([sent, (counts[0], None), kind], [terms, (counts[1], None), kind]))
        first = np.cumsum([0, *owners])
        places = [first[s % self.size] + s // self.size for s in range(sum(owners))]
        total = self.buffer("total", (numbers,), flat.dtype)
        part = total[self.rank * length : (self.rank + 1) * length]
        part[:] = terms[places[0]]
        for place in places[1:]:
            part += terms[place]
        self.wait(self.comm.Iallgather(_mpi().IN_PLACE, total))
        return total

    # ---- the end

    def together(self) -> None:
        self.wait(self.comm.Ibarrier())

    def abort(self, code: int) -> None:
        """End all ranks at once with this exit code; a file that is being written stays the old one, whole."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the reason was given: MPI would add lines of its own
        self.comm.Abort(code)


class PartOfBatch(Share):
    """The shards r, r + P, r + 2P ... of rank r.

    A rank without any, at the end of an epoch that does not divide evenly, computes the first as well, so that it takes
    part in all that is exchanged; what it would add is not sent.
    """

    apart = True

    def __init__(self, world: World, shards: list[slice]):
        own = [shards[rank :: world.size] for rank in range(world.size)]
        super().__init__(own[world.rank] or shards[:1])
        self.world, self.owners = world, [len(some) for some in own]
        places = [[photo for shard in some for photo in range(shard.start, shard.stop)] for some in own]
        self.counts, self.order = [len(some) for some in places], [photo for some in places for photo in some]
        self.photos = np.array(places[world.rank] or range(shards[0].stop))
        self.rows = self.photos.astype(np.uint64)

    def of_all(self, rows: Array) -> Array:
        found = self.world.rows(rows, self.counts)
        ordered = np.empty_like(found)
        ordered[self.order] = found
        return ordered

    def sums(self, parts: list[tuple]) -> tuple:
        each = self.world.of_each(parts[: self.owners[self.world.rank]])
        return super().sums([each[s % self.world.size][s // self.world.size] for s in range(sum(self.owners))])

    def total(self, parts: Parts, join: Callable[[Any], Array]) -> Unfinished:
        return Unfinished(parts, join)

    def whole(self, result: Any, loss_of: Callable[[Array], float]) -> Any:
        outputs = self.of_all(result.outputs)
        return result._replace(loss=loss_of(outputs), outputs=outputs, grads=self.finished(result.grads))

    def finished(self, grads: dict[str, Any]) -> dict[str, Array]:
        """The gradients of the whole batch."""
        waiting = {key: grad for key, grad in grads.items() if isinstance(grad, Unfinished)}
        if not waiting:
            return grads
        places, numbers = {}, 0
        for key, (parts, _) in waiting.items():
            places[key] = slice(numbers, numbers := numbers + parts[0].size)
        dtype, own = next(iter(waiting.values())).parts[0].dtype, self.owners[self.world.rank]
        flat = self.world.buffer("flat", (own, -(-numbers // self.world.size) * self.world.size), dtype)
        for key, (parts, _) in waiting.items():
            for row, part in zip(flat, parts, strict=False):  # a rank without shards has no row
                row[places[key]].reshape(part.shape)[...] = part
        total = self.world.sums(flat, self.owners)
        found = {key: join(total[places[key]].reshape(1, *parts[0].shape)) for key, (parts, join) in waiting.items()}
        return grads | found
