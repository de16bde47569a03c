"""`spike-depth replay`: a bag through the node's own pipeline, offline."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spike_depth_core.cli.options import (
    Backend,
    Checkpoint,
    Device,
    Pixels,
    finite,
    parse_sensors,
    parse_topics,
    typed,
)

if TYPE_CHECKING:
    from spike_depth_core.evaluation.replay import ReplayedFrame
    from spike_depth_core.evaluation.replay_adaptation import ReplayAdaptation
    from spike_depth_core.inference import DepthEstimator

VIDEO_RATE_HZ = 10.0
# Names of the files of a replay; and of those in depth/.
_FILES = r"metrics\.json|depth\.mcap|replay\.(mp4|gif)|report\.html"
_DEPTHS = r"-?\d+\.npz"


class DepthOutput(StrEnum):
    """How the depth is kept."""

    bag = "bag"
    files = "files"
    none = "none"


def replay(
    context: typer.Context,
    bag: Annotated[Path, typer.Argument(help="A rosbag2 bag: its folder, or one .mcap or .db3 file.")],
    checkpoint: Checkpoint = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("out/replay"),
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="True depth: images in metres (32FC1) or millimetres (16UC1), or LiDAR points whose frame /tf_static "
            "connects to the camera's. Of a simulated drive its own by default.",
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SENSOR=TOPIC", help="Which topic is spikes, rgb, nir or thermal, where names do not tell."
        ),
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(help="YAML with the sensors' places; by default the bag's, or config/rigs/vehicle.yaml."),
    ] = None,
    sensors: Annotated[
        str | None, typer.Option(metavar="LIST", help="Sensors to use, such as spikes,rgb. All by default.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="SENSOR", help="In whose frame depth is; as in the node by default.")
    ] = None,
    start: Annotated[float, typer.Option(callback=finite, min=0.0, help="Seconds of the bag to pass over.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(callback=finite, min=0.0, help="Seconds of the bag to replay; all by default.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            callback=finite, min=0.0, help="The most depth images in a second of the bag; 0 for one a moment."
        ),
    ] = 0.0,
    truth_tolerance: Annotated[
        float,
        typer.Option(
            callback=finite, min=0.0, help="The most seconds that a truth may be from the moment it is compared with."
        ),
    ] = 0.02,
    depth: Annotated[
        DepthOutput, typer.Option(help="Keep the depth as depth.mcap, as one .npz a frame in depth/, or not at all.")
    ] = DepthOutput.bag,
    video: Annotated[bool, typer.Option(help="Whether to make replay.mp4.")] = True,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Learn from the bag as adaptation_node does, and compare with not learning.")
    ] = False,
    adapt_steps: Annotated[int, typer.Option(min=1, help="Steps for each moment that is learned from.")] = 1,
    adapt_interval: Annotated[
        float, typer.Option(callback=finite, min=0.0, help="Least seconds between moments that are looked at.")
    ] = 0.5,
    parallax: Annotated[
        bool,
        typer.Option(
            "--parallax", help="Correct depth by the moments before, by the vehicle's motion as odometry has it."
        ),
    ] = False,
    odometry: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="Poses of the vehicle, for --adapt and --parallax; the only odometry there is by default.",
        ),
    ] = None,
    original: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Sample files of the original training, for --adapt; rendered by default."),
    ] = None,
    originals: Annotated[
        int | None, typer.Option(min=1, help="How many of them; as many as in adaptation_node by default.")
    ] = None,
    device: Device = "cpu",
    backend: Backend = None,
    pixels: Pixels = None,
) -> None:
    """Replay a bag through the node's own synchronizer and network, as fast as the machine allows.

    The same bag gives the same depth: metrics.json has its SHA-256. Writes metrics.json, the depth, replay.mp4 and
    report.html; with a truth also accuracy by distance, condition and sensors. What an earlier replay left there
    is removed. What of the bag cannot be read is skipped by name and told.

    With --adapt the same engine as on the road learns from the bag, a fixed number of steps a moment, so that the same
    bag gives the same weights. What it keeps goes to OUT/snapshots, in the place of what an earlier replay kept there.

    spike-depth replay drive.mcap --out out/replay
    """
    from spike_depth_core.bags import BagReader
    from spike_depth_core.bags.odometry import find_odometry
    from spike_depth_core.bags.playback import rig_of_bag
    from spike_depth_core.bags.recording import about_drive
    from spike_depth_core.bags.sensors import find_sensors, find_truth
    from spike_depth_core.bags.storage import LATEST_NS
    from spike_depth_core.cli.console import console, print_table, track
    from spike_depth_core.cli.paths import remove_earlier
    from spike_depth_core.evaluation.baselines import RowPrior
    from spike_depth_core.evaluation.evaluate import Evaluation
    from spike_depth_core.evaluation.pictures import write_video
    from spike_depth_core.evaluation.replay import Replay
    from spike_depth_core.evaluation.replay_adaptation import rows_of as rows_of_adaptation
    from spike_depth_core.evaluation.replay_report import at_rate, figures_of, rows_of, video_sheets, write_page
    from spike_depth_core.evaluation.sheets import estimate_sheet
    from spike_depth_core.inference import DepthEstimator
    from spike_depth_core.whole_files import write_json

    of_adapt = ("adapt_steps", "adapt_interval", "original", "originals")
    if not adapt and (stray := typed(context, *of_adapt)):
        raise ValueError(f"{', '.join(stray)} belongs to --adapt, which is not given")
    if not adapt and not parallax and odometry is not None:
        raise ValueError("--odometry belongs to --adapt and --parallax, of which neither is given")
    reader = BagReader(bag)
    if reader.start_ns is None:
        raise ValueError(
            f"{bag} has no messages: {'; '.join(str(damage) for damage in reader.damage) or 'it is empty'}"
        )
    if adapt and checkpoint is not None and checkpoint.is_dir():
        raise ValueError(f"--adapt learns, which exported graphs cannot: {checkpoint} is a folder; give a .safetensors")
    if adapt and parallax:
        raise ValueError("--adapt compares depth of single moments, --parallax is of several: leave one of them out")
    if adapt and pixels is not None:
        raise ValueError("--adapt learns with pictures of the checkpoint's own size: leave --pixels out")
    poses = find_odometry(reader, odometry) if adapt or parallax else None
    if parallax and poses is None:
        raise ValueError(f"--parallax needs to know how the vehicle moves: {bag} has no odometry")
    estimator = DepthEstimator.load(checkpoint, device, backend, pixels)
    topics = find_sensors(reader, parse_topics(topic))
    truth_topic = find_truth(reader, truth)
    prior = RowPrior.of(estimator.info)
    run = Replay(
        reader,
        estimator,
        topics,
        rig_of_bag(reader, rig),
        truth=truth_topic,
        evaluation=Evaluation(prior),
        rate_hz=rate,
        sensors=parse_sensors(sensors, estimator.sensors),
        reference=reference,
        truth_tolerance_ns=round(truth_tolerance * 1e9),
        condition=str(about_drive(reader).get("condition", "")),
        odometry=poses,
        parallax=parallax,
    )
    remove_earlier(out, _FILES, [bag])
    remove_earlier(out / "depth", _DEPTHS)
    out.mkdir(parents=True, exist_ok=True)
    start_ns = reader.start_ns + round(start * 1e9)
    stop_ns = LATEST_NS if duration is None else start_ns + round(duration * 1e9)
    sheets: dict[str, tuple[float, str, object]] = {}

    def kept(frames: Iterator[ReplayedFrame]) -> Iterator[ReplayedFrame]:
        """Write the depth, and keep sheets of the best and the worst frame."""
        with DepthSink(out, depth) as write:
            for frame in frames:
                write(frame)
                if frame.abs_rel is not None:
                    for label, sign in (("Best", 1), ("Worst", -1)):
                        if label not in sheets or sign * frame.abs_rel < sheets[label][0]:
                            seconds = (frame.estimate.time_ns - (reader.start_ns or 0)) / 1e9
                            caption = f"{label}: {seconds:.2f} s, AbsRel {frame.abs_rel:.3f}"
                            drawn = estimate_sheet(frame.sample, frame.estimate, frame.truth, caption)
                            sheets[label] = (sign * frame.abs_rel, caption, drawn)
                yield frame

    began = time.perf_counter()
    played = run.frames(start_ns, stop_ns)
    adaptation = None
    if adapt:
        adaptation, untaught = learning(
            estimator, checkpoint, out / "snapshots", original, originals, adapt_steps, adapt_interval
        )
        if untaught:
            known, students = ", ".join(estimator.sensors), ", ".join("+".join(student) for student in untaught)
            text = f"not taught, as the checkpoint knows only {known}: {students}"
            console.print(text, style="yellow", highlight=False, soft_wrap=True)
        played = adaptation.watch(played)
    frames = kept(track(played, "Replaying"))
    movie: Path | None = None
    first = next(frames, None)
    if first is not None and video:
        shown = at_rate(_chained(first, frames), VIDEO_RATE_HZ)
        pictures = video_sheets(shown, tuple(topics.images), truth_topic is not None, reader.start_ns)
        movie = write_video(out / "replay.mp4", pictures, VIDEO_RATE_HZ)
    for _ in frames:
        pass
    elapsed = time.perf_counter() - began
    figures = figures_of(run, elapsed)
    command = shlex.join(["spike-depth", *sys.argv[1:]])
    sha256 = estimator.info.sha256
    figures |= {"command": command, "checkpoint": {"file": str(checkpoint or "default"), "sha256": sha256}}
    if adaptation is not None:
        figures["adaptation"] = adaptation.figures()
    write_json(out / "metrics.json", figures)
    for text in [*(str(damage) for damage in reader.damage), *run.complaints()]:
        console.print(text, style="yellow", highlight=False, soft_wrap=True)
    for name, why in reader.skipped().items():
        console.print(f"skipped {name}: {why}", style="yellow", highlight=False, soft_wrap=True)
    print_table(f"Replay of {bag}", ["measured", "value"], rows_of(figures))
    if adaptation is not None:
        print_table("Learning on the road", ["measured", "value"], rows_of_adaptation(figures["adaptation"]))
    if first is None:
        raise ValueError(f"{bag} gave no depth at all: {reasons(figures)}")
    if truth is not None and not run.evaluation.frames:
        raise ValueError(f"no depth could be compared with {truth}: {figures['unscored'] or 'it has nothing in range'}")
    written = ["metrics.json"]
    written += {DepthOutput.bag: ["depth.mcap"], DepthOutput.files: ["depth"], DepthOutput.none: []}[depth]
    written += ["snapshots"] if adapt else []
    written += [movie.name] if movie is not None else []
    try:
        facts = [("Checkpoint", f"{checkpoint or 'default'}, sha256 {sha256[:16]}"), ("Bag", str(bag))]
        drawn = [(caption, picture) for _, caption, picture in sheets.values()]
        write_page(out, run, figures, movie, drawn, command, facts, adaptation)  # type: ignore[arg-type]
        written.append("report.html")
    except ImportError as error:
        console.print(f"no report.html: {error}", style="yellow", highlight=False)
    console.print(f"{out}/: {', '.join(sorted(written))}", highlight=False, soft_wrap=True)


def learning(
    estimator: DepthEstimator,
    checkpoint: Path | None,
    snapshots: Path,
    original: Path | None,
    count: int | None,
    steps: int,
    interval_s: float,
) -> tuple[ReplayAdaptation, list[tuple[str, ...]]]:
    """An adaptation that begins with the checkpoint and an empty folder, whatever an earlier one has kept.

    Returns:
        It, and the students that it leaves out because the checkpoint does not know their sensors.

    Raises:
        ValueError: the checkpoint is in the folder, or knows the sensors of no student.
    """
    from spike_depth_core.adaptation import AdaptationOptions, AdaptationSession, Snapshots
    from spike_depth_core.adaptation.originals import COUNT, originals
    from spike_depth_core.cli.console import track
    from spike_depth_core.evaluation.replay_adaptation import ReplayAdaptation
    from spike_depth_core.resources import default_checkpoint

    checkpoint = checkpoint or default_checkpoint()
    if checkpoint.resolve().parent == snapshots.resolve():
        raise ValueError(f"{checkpoint} is of an earlier replay, whose place this one takes: choose another --out")
    known, options = set(estimator.sensors), AdaptationOptions()
    students = tuple(sensors for sensors in options.students if set(sensors) <= known)
    if not students:
        raise ValueError(f"{checkpoint} knows only {', '.join(estimator.sensors)}: there is no student to be taught")
    teacher = tuple(sensor for sensor in options.teacher_sensors if sensor in known)
    kept = Snapshots(snapshots, keep=1000)
    session = AdaptationSession(
        checkpoint,
        kept,
        replace(options, students=students, teacher_sensors=teacher),
        device=str(estimator.device),
        resume=False,
    )
    kept.clear()
    count = count or COUNT
    session.begin(list(track(originals(original, count), "Examples of the original training", count)))
    untaught = [sensors for sensors in options.students if sensors not in students]
    return ReplayAdaptation(session, estimator, steps, interval_s), untaught


def reasons(figures: dict) -> str:
    """Why there is no depth, from the counts."""
    parts = [f"{n} moments skipped ({reason})" for reason, n in figures["skipped_moments"].items()]
    for sensor, counts in figures["inputs"].items():
        dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
        parts.append(f"{sensor}: {counts['received']} received" + (f", dropped {dropped}" if dropped else ""))
    return "; ".join(parts)


def _chained(first: ReplayedFrame, frames: Iterator[ReplayedFrame]) -> Iterator[ReplayedFrame]:
    yield first
    yield from frames


class DepthSink:
    """Opens what depth is written to, and hands out a function that writes a frame."""

    def __init__(self, out: Path, how: DepthOutput):
        self.out, self.how = out, how

    def __enter__(self) -> Callable[[ReplayedFrame], None]:
        from spike_depth_core.bags import BagWriter

        self.bag = None
        if self.how is DepthOutput.bag:
            self.bag = BagWriter(self.out / "depth.mcap", compress=True)
            return self._to_bag
        if self.how is DepthOutput.files:
            (self.out / "depth").mkdir(exist_ok=True)
            return self._to_file
        return lambda frame: None

    def __exit__(self, *error: object) -> None:
        if self.bag is not None:
            self.bag.__exit__(*error)  # type: ignore[arg-type]

    def _to_bag(self, frame: ReplayedFrame) -> None:
        from spike_depth_core.bags import messages, types

        assert self.bag is not None
        estimate = frame.estimate
        about = (estimate.time_ns, frame.frame_id)
        images = {"depth/image_rect": estimate.depth, "depth/uncertainty": estimate.uncertainty}
        camera = messages.camera_to_message(estimate.camera, *about)
        self.bag.write("/depth_node/depth/camera_info", types.CAMERA_INFO, camera, frame.complete_ns)
        for name, image in images.items():
            message = messages.image_to_message(image, "32FC1", *about)
            self.bag.write(f"/depth_node/{name}", types.IMAGE, message, frame.complete_ns)

    def _to_file(self, frame: ReplayedFrame) -> None:
        import numpy as np

        path = self.out / "depth" / f"{frame.estimate.time_ns}.npz"
        np.savez_compressed(path, depth=frame.estimate.depth, uncertainty=frame.estimate.uncertainty)
