"""The table of errors between diffusers' networks and ours, and the values that the tests freeze.

Needs the extra `bench`. From the repository's root,

    python -m tests.prove.diffusers_table            prints the table
    python -m tests.prove.diffusers_table freeze     writes tests/interop/frozen.json again
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.interop import frozen_networks
from tests.prove.diffusers_errors import (
    CONFIGS,
    OURS,
    export_error,
    gradient_error,
    inject_our_waves,
    inject_their_waves,
    loop_error,
    output_error,
    own_error,
)


def frozen():
    """What frozen.json holds, from PyTorch, in float64."""
    return {case: _frozen_case(options) for case, options in frozen_networks.CONFIGS.items()}


def _frozen_case(options):
    import torch
    from diffusers import UNet2DModel

    model = UNet2DModel(**options).double().eval()
    weights = frozen_networks.weights({n: p.shape for n, p in model.named_parameters()})
    model.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    x, target = map(torch.from_numpy, frozen_networks.batch(options))
    out = model(x, torch.tensor(frozen_networks.T_ZERO_BASED)).sample
    (out - target).square().sum().backward()
    slopes = {}
    for name, p in model.named_parameters():
        slope = (p.grad.numpy() * frozen_networks.direction(name, p.shape)).sum()
        assert abs(slope) > 1e-6 or name.endswith("to_k.bias")
        slopes[name] = float(f"{float(slope):.9g}")
    return {"output": out.detach().numpy().round(9).tolist(), "slopes": slopes}


# ---- the table -----------------------------------------------------------------------------------

# What is measured, for a network of diffusers read here. The folder is one to write to.
COLUMNS = {
    "output": lambda options, folder: output_error(options, np.float32),
    "gradients": lambda options, folder: gradient_error(options, np.float32),
    "10 steps, DDPM": lambda options, folder: loop_error(options, "ddpm"),
    "10 steps, DDIM": lambda options, folder: loop_error(options, "ddim"),
    "written and read again: tensors, output": export_error,
    "float64: output": lambda options, folder: output_error(options, np.float64),
    "their table": lambda options, folder: output_error(options, np.float64, inject_their_waves),
    "our table": lambda options, folder: output_error(options, np.float64, inject_our_waves),
    "gradients, our table": lambda options, folder: gradient_error(options, np.float64, n=1),
    "larger weights: output": lambda options, folder: output_error(
        options, np.float64, everywhere=True
    ),
    "our table ": lambda options, folder: output_error(
        options, np.float64, inject_our_waves, everywhere=True
    ),
}


def measured(measure, *arguments):
    """The errors as text. `measure` gets a folder to write to."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(*arguments, Path(folder) / "out")
    return [f"{error:.1e}" for error in np.atleast_1d(found)]


def table():
    """The errors of every configuration, relative to the largest value, as a Markdown table."""
    import diffusers

    diffusers.logging.set_verbosity_error()
    rule = "|" + "---|" * (1 + len(COLUMNS))
    print("| configuration |", *(f"{name} |" for name in COLUMNS), f"\n{rule}")
    for name, options in CONFIGS.items():
        print(f"| {name} |", end="")
        for measure in COLUMNS.values():
            print(f" {', '.join(measured(measure, options))}", end=" |", flush=True)
        print()
    print("\n| our own network, read by diffusers | output, float32 | float64, our table |")
    print("|---|---|---|")
    for name, config in OURS.items():
        print(f"| {name} |", *(f"{e} |" for e in measured(own_error, config)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["freeze"]:
        content = json.dumps(frozen(), separators=(",", ":"))
        frozen_networks.FILE.write_text(content + "\n")
    else:
        table()
