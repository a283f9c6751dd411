"""A network as the program for PyTorch that makes it; its weights come from the .safetensors file."""

import os

from cnn.network import Network
from cnn.saving.forms import torch_modules
from cnn.saving.forms.extras import comment

APPLY = '''
class Apply(nn.Module):
    """A formula, where PyTorch has no module."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(x)

'''


def code(network: Network, weights: str | os.PathLike = "model.safetensors") -> str:
    """The program. weights: the name of their file. Raises ValueError for what PyTorch has no module for."""
    modules = torch_modules.modules(network)
    lines = [f"        {one.code},  # {_comment(one)}" for one in modules]
    scale = "" if network.input_scale is None else f", bytes multiplied by {network.input_scale!r}"
    shape = tuple(network.photo_shape or ())
    shape = (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape
    return "\n".join(
        [
            f"# {comment(str(network.name))}: photos are (N, {', '.join(map(str, shape))}){scale}.",
            "",
            "import torch",
            "from safetensors.torch import load_file",
            "from torch import nn",
            "",
            *([APPLY] if any("Apply(" in one.code for one in modules) else [""]),
            "def make_model():",
            "    return nn.Sequential(",
            *lines,
            "    )",
            "",
            "",
            'if __name__ == "__main__":',
            "    model = make_model()",
            f"    model.load_state_dict(load_file({os.fspath(weights)!r}))",
            "    model.eval()",
            "    with torch.no_grad():",
            f"        print(model(torch.zeros(1, {', '.join(map(str, shape))})))",
            "",
        ]
    )


def _comment(module) -> str:
    name = type(module.layer).__name__
    if isinstance(module.layer, torch_modules.ACT_IN_TRAINING):
        return f"{comment(str(module.layer.name))} ({name}, which acts in training alone: PyTorch has none)"
    return f"{comment(str(module.layer.name))} ({name})"
