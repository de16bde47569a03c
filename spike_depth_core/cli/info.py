"""`spike-depth info`: what a file or folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spike_depth_core.geometry import SensorRig
    from spike_depth_core.networks.checkpoint import CheckpointInfo
    from spike_depth_core.samples import DepthSample

Facts = list[tuple[str, str]]
_RECORDING, _EXTRACTED = "spike recording", "extracted data set"


def info(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint (.safetensors), a spike recording (.dat, .npy, .npz), a sample (.npz), a sensor rig "
            "(.yaml), a bag (.mcap, .db3 or its folder), a data set that was extracted, or a folder of samples, in "
            "files or shards, of KITTI frames, or of `export`."
        ),
    ],
    height: Annotated[int | None, typer.Option(min=1, help="Rows of a recording; of a .dat 250 by default.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Columns of a recording; of a .dat 400 by default.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of a data set: where samples of it are drawn; contact_sheet.png in it by default."
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Of a data set: read all of it, compare checksums.")] = False,
) -> None:
    """Tell what a checkpoint, a spike recording, a sample, a sensor rig, a data set or a folder holds."""
    from spike_depth_core.cli.console import console, print_facts
    from spike_depth_core.cli.info_extracted import SHEET, contact_sheet, describe_extracted
    from spike_depth_core.cli.options import typed

    if not path.exists():
        raise ValueError(f"{path} does not exist")
    extracted = (path / "manifest.json").is_file()
    kind, facts = (_EXTRACTED, describe_extracted(path, verify)) if extracted else describe(path, height, width)
    if kind != _RECORDING and (stray := typed(context, "height", "width")):
        raise ValueError(f"{', '.join(stray)}: only of a spike recording; {path} is no such: {kind}")
    if not extracted and (stray := typed(context, "verify", "sheet")):
        raise ValueError(
            f"{', '.join(stray)}: only of a data set that spike-depth extract has made; {path} is no such: {kind}"
        )
    print_facts(f"{path}: {kind}", facts)
    if extracted:
        from spike_depth_core.evaluation.pictures import write_png

        sheet = sheet or path / SHEET
        write_png(sheet, contact_sheet(path))
        console.print(f"{sheet}", highlight=False, soft_wrap=True)


def describe(path: Path, height: int | None = None, width: int | None = None) -> tuple[str, Facts]:
    """What kind of thing lies at a path, and (name, value) pairs about it. Raises ValueError where nothing fits."""
    from spike_depth_core.bags.storage import is_bag

    suffix = path.suffix.lower()
    if is_bag(path):
        return "bag", describe_bag(path)
    if path.is_dir():
        return describe_folder(path)
    if suffix in (".safetensors", ".json"):
        return "checkpoint", describe_checkpoint(path)
    if suffix in (".yaml", ".yml"):
        return "sensor rig", describe_rig(path)
    if suffix == ".npz" and holds_sample(path):
        from spike_depth_core.samples.files import load_sample

        return "sample", describe_sample(load_sample(path))
    if suffix in (".dat", ".npy", ".npz"):
        return _RECORDING, describe_spikes(path, height, width)
    raise ValueError(
        f"{path}: expected .safetensors, .dat, .npy, .npz, .yaml, .mcap, .db3 or a folder, "
        f"found {suffix or 'no suffix'}"
    )


def describe_bag(path: Path) -> Facts:
    """Topics, times, what cannot be read; the messages themselves are not looked at."""
    from spike_depth_core.bags import BagReader

    bag = BagReader(path)
    endless = bag.start_ns is not None and bag.end_ns is None
    facts: Facts = [("duration", "not known" if endless else f"{bag.duration_s:.3f} s")]
    if bag.start_ns is not None:
        facts.append(("starts at", f"{bag.start_ns} ns"))
    for topic in bag.topics.values():
        count = "" if topic.count is None else f"{topic.count:,} "
        facts.append((topic.name, f"{count}{topic.kind}" if topic.objection is None else f"skipped: {topic.objection}"))
    facts += [(name, shortened(text.replace("\n", " "))) for name, text in bag.custom.items()]
    return facts + [("damage", str(damage)) for damage in bag.damage]


def describe_checkpoint(path: Path) -> Facts:
    """From the JSON, and the weights' header: the weights themselves are not read."""
    from safetensors import SafetensorError, safe_open

    from spike_depth_core.networks.checkpoint import read_info

    about = read_info(path)
    weights = path.with_suffix(".safetensors")
    facts: Facts = [("sensors", ", ".join(about.architecture.sensors))]
    if weights.is_file():
        try:
            with safe_open(str(weights), framework="numpy") as file:
                shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise ValueError(f"{weights} is not a safetensors file: {error}") from error
        count = 0
        for shape in shapes:
            size = 1
            for side in shape:
                size *= side
            count += size
        facts += [("weights", f"{count / 1e6:.2f} M values in {len(shapes)} tensors, {megabytes(weights)}")]
    return facts + about_network(about)


def describe_export(path: Path) -> Facts:
    """Of a folder of `export`, whose hashes are checked."""
    from spike_depth_core.inference.onnx_export import load_export

    graphs, about = load_export(path)
    facts: Facts = [
        ("sensors", ", ".join(about.architecture.sensors)),
        ("graphs", f"{len(graphs)}, {sum(map(len, graphs.values())) / 1e6:.2f} MB"),
    ]
    return facts + about_network(about)


def about_network(about: CheckpointInfo) -> Facts:
    """What a checkpoint and what was exported of it say alike."""
    facts: Facts = [
        ("depth range", f"{about.depth_range[0]:g} to {about.depth_range[1]:g} m"),
        ("row prior", f"{len(about.row_prior.get('slopes', ()))} slopes" if about.row_prior else "none"),
        ("sha256", about.sha256),
        ("trained from", about.parent or "random weights"),
    ]
    facts += [(f"training: {key}", shortened(value)) for key, value in about.training.items()]
    return facts


def describe_spikes(path: Path, height: int | None, width: int | None) -> Facts:
    """Size, times and mean firing rate of a recording."""
    from spike_depth_core.spikes.formats import read_spikes

    spikes = read_spikes(path, height, width)
    facts: Facts = [
        ("planes", f"{len(spikes)} of {spikes.width}x{spikes.height} pixels"),
        ("period", f"{spikes.period_ns} ns ({1e9 / spikes.period_ns:,.0f} planes/s)"),
        ("duration", f"{len(spikes) * spikes.period_ns / 1e6:.3f} ms"),
        ("starts at", f"{spikes.start_ns} ns"),
        ("file", megabytes(path)),
    ]
    if len(spikes):
        looked = spikes.slice(0, min(len(spikes), 256))
        facts.insert(3, ("mean rate", f"{looked.planes().mean():.4f} spikes a plane (first {len(looked)} planes)"))
    return facts


def describe_rig(path: Path) -> Facts:
    """Cameras and places of a rig, and its height."""
    from spike_depth_core.geometry import SensorRig

    rig = SensorRig.load(path)
    facts: Facts = [
        ("reference", rig.reference),
        ("height", "not known" if rig.height is None else f"{rig.height:g} m over the road"),
    ]
    for name, camera in rig.cameras.items():
        x, y, z = rig.reference_from(name)[:3, 3]
        text = f"{camera.width}x{camera.height}, f = {camera.fx:g} px, at ({x:g}, {y:g}, {z:g}) m{turn_of(rig, name)}"
        facts.append((name, text + (", distorted" if any(camera.distortion) else "")))
    return facts


def turn_of(rig: SensorRig, name: str) -> str:
    """How a sensor is turned against the reference, in words and as in the file; nothing where it is not."""
    from math import atan2, degrees, hypot

    from spike_depth_core.geometry.rig import quaternion_from_rotation

    x, y, z, w = quaternion_from_rotation(rig.reference_from(name)[:3, :3])
    angle = 2 * degrees(atan2(hypot(x, y, z), w))
    if angle < 0.01:
        return ""
    shown = ", ".join(f"{round(value, 4) + 0.0:g}" for value in (x, y, z, w))  # + 0.0: no -0
    return f", turned by {angle:.4g} degrees, quaternion ({shown})"


def describe_sample(sample: DepthSample) -> Facts:
    """Sensors, depth and origin of a sample."""
    import numpy as np

    from spike_depth_core.samples import modality

    facts: Facts = [("time", f"{sample.time_ns / 1e9:.6f} s")]
    for name in sample.images:
        rows, columns = sample.size(name)
        planes = f", {len(getattr(sample, name))} planes" if modality(name) == "spikes" else ""
        facts.append((name, f"{columns}x{rows}{planes}"))
    for sensor, depth in sample.depth.items():
        known = depth[np.isfinite(depth)]
        sky = float(np.isposinf(depth).mean())
        reach = f"{known.min():.1f} to {known.max():.1f} m" if known.size else "nothing"
        facts.append((f"depth of {sensor}", f"{reach} in {known.size / depth.size:.0%} of the pixels, {sky:.0%} sky"))
    return facts + [(key, shortened(value)) for key, value in sample.meta.items()]


def describe_folder(path: Path) -> tuple[str, Facts]:
    """A folder of samples, in files or shards, of KITTI frames or of `export`; a folder of a checkpoint alone."""
    from spike_depth_core.inference.onnx_export import DESCRIPTION
    from spike_depth_core.samples.files import SUFFIX, load_sample, summary_of
    from spike_depth_core.samples.readers import kitti_object
    from spike_depth_core.samples.shards import SHARD_SUFFIX, ShardMember, list_members

    if (path / DESCRIPTION).is_file():
        return "exported graphs", describe_export(path)
    files = [file for file in sorted(path.glob(f"*{SUFFIX}")) if holds_sample(file)]
    samples: Sequence[Path | ShardMember] = files
    if not files:
        files = sorted(path.glob(f"*{SHARD_SUFFIX}"))
        samples = [member for shard in files for member in list_members(shard)]
    if samples:
        conditions = Counter(str(summary_of(sample).meta.get("condition", "unknown")) for sample in samples)
        facts: Facts = [
            ("samples", f"{len(samples)}, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"),
            ("light", ", ".join(f"{count} {name}" for name, count in conditions.most_common())),
        ]
        return "samples", facts + [(f"first: {key}", value) for key, value in describe_sample(load_sample(samples[0]))]
    checkpoints = sorted(path.glob("*.safetensors"))
    if checkpoints:
        return f"checkpoint {checkpoints[0].name}", describe_checkpoint(checkpoints[0])
    try:
        names = kitti_object.list_frames(path)
    except ValueError:
        raise ValueError(
            f"{path}: expected samples (*{SUFFIX}, *{SHARD_SUFFIX}), a checkpoint, graphs or KITTI frames, found none"
        ) from None
    return "KITTI frames", [
        ("frames", str(len(names))),
        *((f"first: {key}", value) for key, value in describe_sample(kitti_object.read_frame(path, names[0]))),
    ]


def holds_sample(path: Path) -> bool:
    """Whether an .npz is a sample and not a spike recording."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as file:
            return "description.npy" in file.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not an .npz file: {error}") from error


def megabytes(path: Path) -> str:
    """The size of a file for people."""
    return f"{path.stat().st_size / 1e6:.2f} MB"


def shortened(value: object, limit: int = 100) -> str:
    """A JSON value on one line that fits a table."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
