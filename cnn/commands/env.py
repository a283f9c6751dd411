"""`cnn env`: everything about this machine that a bug report should say."""

import argparse

HELP = "versions, processor, threads, BLAS, compiled kernels, data: what a bug report should say"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn env`."""
    from cnn.commands.shared import options

    options.add_data(parser)


def run(args: argparse.Namespace) -> None:
    """Print one fact a line."""
    from cnn import terminal
    from cnn.commands.shared import environment
    from kernels import blas, threads

    facts = {
        **environment.versions(),
        "Processor": environment.processor(),
        "Cores": f"{threads.cores()} that this process may use",
        "Threads": f"{threads.get_threads()} (batches cut into {threads.default_shards()} shards)",
        "BLAS": environment.blas_name(),
        "BLAS threads": blas.get_threads() or "unknown: this BLAS cannot be asked",
        "AVX-512": environment.avx512(),
        "Variables": ", ".join(f"{key}={value}" for key, value in environment.variables().items()) or "none set",
        "Kernel cache": environment.kernel_cache(),
        "Data": about_data(args),
    }
    for name, fact in facts.items():
        print(f"{name:<13} {terminal.visible(str(fact))}")


def about_data(args: argparse.Namespace) -> str:
    """What loading the data gives: its size, or the error's text."""
    from cnn.commands.shared import data
    from cnn.datasets import fashion_mnist
    from cnn.errors import DataError

    try:
        source = data.of_command(args)
        counts = [f"{len(source.split(part)[0]):,}" for part in data.PARTS]
    except DataError as error:
        return str(error)
    return f"{' + '.join(counts)} photos in {args.data or fashion_mnist.SHIPPED}"
