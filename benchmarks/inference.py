"""What computes the network fastest on a CPU: `python benchmarks/inference.py --out docs/results`.

PyTorch and ONNX Runtime take turns with the same inputs on one thread, and the ratio of their times is what is shown:
whatever else the machine does at that moment slows both. It is the processor's time, and of each the least of all
turns, which is that of the work itself. Beside the network stands the whole estimate: raw spikes and images in, depth
at the reference's size out.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer

from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation.results import machine, markdown_table
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.onnx_network import random_inputs
from spike_depth_core.networks.preprocess import network_size
from spike_depth_core.resources import config_path
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.whole_files import write_json

SETS = (("spikes",), ("spikes", "rgb"), ("spikes", "rgb", "thermal"), ("spikes", "rgb", "nir", "thermal"))


def random_sample(rig: SensorRig, sensors: tuple[str, ...], planes: int) -> DepthSample:
    """Noise of the sizes of a rig's sensors."""
    rng = np.random.default_rng(0)
    images: dict[str, Any] = {}
    for sensor in sensors:
        camera = rig.cameras[sensor]
        size = (camera.height, camera.width)
        if sensor == "spikes":
            images[sensor] = PackedSpikes.from_planes((rng.random((planes, *size)) < 0.2).astype(np.uint8))
        else:
            images[sensor] = rng.integers(0, 256, (*size, 3) if sensor == "rgb" else size, dtype=np.uint8)
    cameras = {sensor: rig.cameras[sensor] for sensor in sensors}
    poses = {sensor: rig.reference_from(sensor) for sensor in sensors}
    return DepthSample(SensorRig(cameras, poses, "spikes", rig.height), **images)


def in_turns(calls: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """The least processor time of each call on this thread, in milliseconds."""
    for call in calls.values():
        call()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(turns):
        for name, call in calls.items():
            begin = time.thread_time()
            call()
            least[name] = min(least[name], 1e3 * (time.thread_time() - begin))
    return least


def main(
    turns: Annotated[int, typer.Option(min=1, help="Of each backend, for each set of sensors.")] = 60,
    checkpoint: Annotated[Path | None, typer.Option(help="The package's own when left out.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where inference.json and inference.md go.")] = None,
) -> None:
    """Compare PyTorch and ONNX Runtime."""
    torch.set_num_threads(1)
    backends = {name: DepthEstimator.load(checkpoint, backend=name) for name in ("torch", "onnxruntime")}
    plain = backends["torch"]
    rig = SensorRig.load(config_path("rigs/vehicle.yaml"))
    spikes = rig.cameras["spikes"]
    height, width, _ = network_size(spikes.height, spikes.width, plain.network.architecture.pixels)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for sensors in track(SETS, "sets of sensors"):
        inputs = random_inputs(plain.network.architecture, (height, width))
        inputs.images = {sensor: inputs.images[sensor] for sensor in sensors}
        last = torch.channels_last
        inputs_of = {
            "torch": {sensor: image.contiguous(memory_format=last) for sensor, image in inputs.images.items()},
            "onnxruntime": inputs.images,
        }
        sample = random_sample(rig, sensors, plain.spike_planes)

        def network(name: str, inputs: Any = inputs, inputs_of: Any = inputs_of) -> None:
            inputs.images = inputs_of[name]
            backends[name].network(inputs)

        def estimate(name: str, sample: DepthSample = sample) -> None:
            backends[name].estimate(sample)

        found = {}
        with torch.inference_mode():
            for what, call in (("network", network), ("estimate", estimate)):
                times = in_turns({name: lambda n=name, c=call: c(n) for name in backends}, turns)
                found[what] = {f"{name}_ms": value for name, value in times.items()}
                found[what]["ratio"] = times["onnxruntime"] / times["torch"]
        results["+".join(sensors)] = found
    rows = [
        (
            sensors.replace("+", ", "),
            *(
                text
                for what in ("network", "estimate")
                for text in (
                    f"{found[what]['torch_ms']:.1f}",
                    f"{found[what]['onnxruntime_ms']:.1f}",
                    f"{found[what]['ratio']:.2f}",
                )
            ),
        )
        for sensors, found in results.items()
    ]
    columns = ("sensors", "network, PyTorch", "ONNX Runtime", "ratio", "estimate, PyTorch", "ONNX Runtime", "ratio")
    print_table("Milliseconds on one thread", columns, rows)
    if out is None:
        return
    about = {
        "machine": machine(),
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        "canvas": [height, width],
        "turns": turns,
        "checkpoint_sha256": plain.info.sha256,
    }
    write_json(out / "inference.json", about | {"results": results})
    command = shlex.join(["python", "benchmarks/inference.py", *sys.argv[1:]])
    text = (
        f"# What computes the network\n\n`{command}` on {about['machine']}, one thread, checkpoint "
        f"{plain.info.sha256[:8]}: the processor's time, the least of {turns} turns, in milliseconds. The network sees "
        f"{width}x{height} pixels; an estimate begins with packed spikes and raw images of the sizes of "
        f"`config/rigs/vehicle.yaml` and ends with depth of {spikes.width}x{spikes.height}. "
        f"PyTorch {torch.__version__} (channels last, normalisation folded), "
        f"ONNX Runtime {onnxruntime.__version__}.\n\n"
    )
    (out / "inference.md").write_text(text + markdown_table(columns, rows))


if __name__ == "__main__":
    typer.run(main)
