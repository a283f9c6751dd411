"""`cnn export`: a model in the form of another program, and whether that program computes the same."""

import argparse
import sys
from typing import TYPE_CHECKING

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn.commands.shared.compared import Comparison
    from cnn.models import Sequential

HELP = "a model for Keras (.keras, .weights.h5, .py), PyTorch (.safetensors), ONNX (.onnx) or C (.h), compared there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn export`."""
    parser.add_argument(
        "model", metavar="MODEL", type=options.name, help="a model file, the folder of a run, or cnn, dense or best"
    )
    parser.add_argument("file", metavar="FILE", type=options.name, help="the file to write; its ending says the form")
    parser.add_argument(
        "--torch-code",
        action="store_true",
        help="print the nn.Sequential that a .safetensors file fits; as FILE.py write it",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> None:
    """Write the file, have its own program compute from it, and print how far that is from us."""
    from cnn.checks import known
    from cnn.commands.shared import compared, files, streams
    from cnn.errors import UsageError
    from cnn.saving import forms, model_file
    from cnn.saving.forms import torch_code

    form = forms.find_export(args.file)
    if form is None:
        endings = ", ".join(ending for ending, one in forms.EXPORTS.items() if one.write)
        raise UsageError(f"FILE: expected a name that ends in {endings}, got {args.file!r}")
    if args.torch_code and not args.file.endswith((".safetensors", ".py")):
        raise UsageError("--torch-code: expected a FILE that ends in .safetensors or .py")
    if args.torch_code and args.json and args.file.endswith(".safetensors"):
        raise UsageError("--torch-code and --json: expected one of them, got both")
    model = options.load_any(args.model)[0]
    if args.torch_code and args.file.endswith(".py"):
        files.write(args.file, torch_code.code(model))
    elif args.file.endswith(tuple(forms.FORMS)):
        forms.require(form)
        weights_alone = args.file.endswith(".weights.h5")
        model_file.save_model(model, args.file, include_optimizer=not weights_alone)
    else:
        known(form.write)(model, args.file, model.params)
    comparison = compared.compare(model, args.file)
    if args.json:
        streams.print_json(as_dict(args.file, comparison))
    elif args.torch_code and args.file.endswith(".safetensors"):
        print(torch_code.code(model, args.file), end="")
        print(table(args.file, model, comparison), file=sys.stderr)
    else:
        print(table(args.file, model, comparison))


def as_dict(path: str, comparison: "Comparison | None") -> dict:
    """The comparison for programs; tool null where the file's program is not installed."""
    if comparison is None:
        return {"file": path, "tool": None, "photos": 0, "largest_difference": None, "layers": []}
    layers = [
        {"layer": name, "output_shape": list(shape), "largest_difference": difference}
        for name, shape, difference in comparison.layers
    ]
    told = {"tool": comparison.tool, "photos": comparison.photos, "largest_difference": comparison.worst}
    return {"file": path, **told, "layers": layers}


def table(path: str, model: "Sequential", comparison: "Comparison | None") -> str:
    """One row a layer, and the sentence that tells what it is about."""
    from cnn.terminal import visible

    wrote = f"wrote {visible(path)}: {model.count_params():,} parameters"
    if comparison is None:
        return f"{wrote}. Its program is not installed here, so nothing was compared."
    rows = [("layer", "output", "largest difference")]
    rows += [(name, " x ".join(map(str, shape)), f"{difference:.1e}") for name, shape, difference in comparison.layers]
    first, second = (max(len(row[k]) for row in rows) for k in range(2))
    lines = [f"  {name:<{first}}  {shape:<{second}}  {difference:>18}" for name, shape, difference in rows]
    return "\n".join([f"{wrote}. {comparison.tool} beside us, {comparison.photos} photos of noise:", *lines])
