"""`cnn import`: a model of Keras or PyTorch becomes a model file of ours."""

import argparse

from cnn.commands.shared import options

HELP = "a model of Keras (.keras, .h5, .weights.h5) or PyTorch (.safetensors) as a model file of ours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn import`."""
    parser.add_argument("file", metavar="FILE", type=options.name, help="the file to read; its ending says the form")
    parser.add_argument("model", metavar="MODEL", type=options.name, help="the model file to write, .npz")
    parser.add_argument(
        "--like", metavar="MODEL", type=options.name, help="where FILE holds weights alone: a model of the same layers"
    )
    parser.add_argument(
        "--input-scale",
        metavar="NUMBER",
        type=options.positive,
        help="what the bytes of photos are multiplied by before (0.00392157 for 1/255), where FILE does not say it",
    )


def run(args: argparse.Namespace) -> None:
    """Read the file, write the model, and say what it is."""
    from cnn import models
    from cnn.errors import UsageError
    from cnn.saving import forms
    from cnn.terminal import visible

    if not args.file.endswith(tuple(forms.FORMS)):
        raise UsageError(f"FILE: expected a name that ends in {', '.join(forms.FORMS)}, got {args.file!r}")
    if not args.model.endswith(".npz"):
        raise UsageError(f"MODEL: expected a file name that ends in .npz, got {args.model!r}")
    if args.like is None:
        model = models.load_model(args.file)
    else:
        model = options.load_any(args.like)[0]
        model.load_weights(args.file)
        model.made_by = None
    model.input_scale = args.input_scale or model.input_scale
    model.save(args.model)
    print(f"wrote {visible(args.model)}: {visible(repr(model))}")
    if model.input_scale is None and not any(type(layer).__name__ == "Rescaling" for layer in model.chain):
        options.log("cnn import: FILE does not say what bytes of photos are multiplied by: --input-scale tells it")
