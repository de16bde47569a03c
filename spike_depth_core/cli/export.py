"""`spike-depth export`: a checkpoint as ONNX graphs, checked against the network that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spike_depth_core.cli.paths import check_out


def export(
    out: Annotated[Path, typer.Option(help="Folder for the .onnx files and export.json.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Network to export; the package's own when left out.")] = None,
) -> None:
    """Write a network as ONNX: a graph that encodes for each sensor, and one that fuses those present and decodes.

    What ONNX Runtime computes with them is compared with PyTorch for every set of sensors and several sizes before
    anything is written. The folder can be given as the checkpoint of `infer` and of the depth node.
    """
    from itertools import product

    from spike_depth_core.cli.console import console, print_table, track
    from spike_depth_core.inference import onnx_export
    from spike_depth_core.inference.onnx_network import TOLERANCE, OnnxNetwork, largest_difference, subsets
    from spike_depth_core.networks.checkpoint import load_checkpoint
    from spike_depth_core.networks.folding import folded
    from spike_depth_core.resources import default_checkpoint

    check_out(out)
    path = checkpoint or default_checkpoint()
    network, info = load_checkpoint(path)
    graphs = onnx_export.export(network)
    exported, plain = OnnxNetwork(graphs, info.architecture), folded(network)
    sets = list(subsets(info.architecture.sensors))
    found: dict[str, dict[str, float]] = {}
    for size, sensors in track(list(product(onnx_export.CHECKED_SIZES, sets)), "checking"):
        difference = largest_difference(plain, exported, sensors, size)
        entry = found.setdefault(f"{size[1]}x{size[0]}", dict.fromkeys(difference, 0.0))
        for name, value in difference.items():
            entry[name] = max(entry[name], value)
        if not max(difference.values()) <= TOLERANCE:  # not `>`: NaN is no agreement
            raise onnx_export.ExportError(
                f"{path}: of {', '.join(sensors)} at {size[1]}x{size[0]} ONNX differs from PyTorch by {difference}, "
                f"more than {TOLERANCE}"
            )
    check = {"sets_of_sensors": len(sets), "tolerance": TOLERANCE, "largest_differences": found}
    onnx_export.save_export(out, graphs, info, check)
    print_table(
        f"Largest difference from PyTorch, {len(sets)} sets of sensors",
        ["size", "log-depth", "log-scale"],
        [[size, f"{entry['log_depth']:.1e}", f"{entry['log_scale']:.1e}"] for size, entry in found.items()],
    )
    console.print(
        f"{len(graphs)} graphs, {sum(map(len, graphs.values())) / 1e6:.1f} MB, opset {onnx_export.OPSET}: {out}"
    )
