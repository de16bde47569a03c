"""`spike-depth infer`: depth from files of one moment, whichever sensors there are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spike_depth_core.cli.options import Backend, Device, Pixels

if TYPE_CHECKING:
    from spike_depth_core.geometry import SensorRig


def infer(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for depth.npy and uncertainty.npy, both of the rectified picture of the sensor in whose frame "
            "depth is given, depth.png and metrics.json."
        ),
    ],
    spikes: Annotated[Path | None, typer.Option(help="Spike recording: camera .dat, or .npy/.npz of planes.")] = None,
    rgb: Annotated[Path | None, typer.Option(help="Colour picture, 8 bit.")] = None,
    nir: Annotated[Path | None, typer.Option(help="Near infrared picture, 8 or 16 bit grey.")] = None,
    thermal: Annotated[Path | None, typer.Option(help="Thermal picture, 8 or 16 bit grey.")] = None,
    rig: Annotated[
        Path | None, typer.Option(help="YAML with the cameras and their places, as config/rigs/vehicle.yaml.")
    ] = None,
    focal: Annotated[
        float | None, typer.Option(help="Focal length in pixels of the one sensor given, where there is no rig.")
    ] = None,
    camera_height: Annotated[
        float | None,
        typer.Option(help="Metres from the sensor down to the road, where no rig says; 1.65 when left out."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Network to use, or a folder of `export`; the package's own when left out.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Sensor in whose frame depth is given. Default: spikes, rgb, nir, thermal.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="True depth in metres to score against, .npy [H, W] of the same sensor's picture as it is; rectified "
            "as that is."
        ),
    ] = None,
    end: Annotated[
        int | None, typer.Option(help="Spike plane at which the window ends. Default: the recording's last.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Height in pixels of a .dat recording; 250 when left out.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Width in pixels of a .dat recording; 400 when left out.")
    ] = None,
    device: Device = "auto",
    backend: Backend = None,
    pixels: Pixels = None,
) -> None:
    """Metric depth from any non-empty set of sensors.

    Depth is only as metric as the intrinsics are true: give a rig, or the focal length. Without either a focal length
    of 0.8 image widths is assumed and a warning printed. Pictures are turned as their EXIF says: the intrinsics and the
    truth are of the picture as it is seen.
    """
    from dataclasses import replace

    import numpy as np

    from spike_depth_core.cli.console import print_facts
    from spike_depth_core.cli.paths import check_file, check_out
    from spike_depth_core.evaluation.evaluate import rectified_truth
    from spike_depth_core.evaluation.pictures import (
        bars,
        colorize_depth,
        colorize_error,
        colorize_uncertainty,
        grid,
        write_png,
    )
    from spike_depth_core.evaluation.sheets import sensor_cells
    from spike_depth_core.geometry import SensorRig
    from spike_depth_core.inference import DepthEstimator
    from spike_depth_core.metrics import frame_metrics
    from spike_depth_core.samples import DepthSample
    from spike_depth_core.samples.images import read_grey, read_rgb
    from spike_depth_core.samples.readers.depth_maps import read_depth_npy
    from spike_depth_core.spikes.formats import read_spikes
    from spike_depth_core.whole_files import write_json

    begin = time.perf_counter()
    check_out(out)
    images: dict = {}
    if spikes is not None:
        check_file(spikes)
        recording = read_spikes(spikes, height, width)
        last = len(recording) if end is None else end
        if not 0 < last <= len(recording):
            raise ValueError(f"{spikes} has {len(recording)} planes; --end {end} is not among them")
        images["spikes"] = recording
    for name, path, read in (("rgb", rgb, read_rgb), ("nir", nir, read_grey), ("thermal", thermal, read_grey)):
        if path is not None:
            images[name] = read(path, upright=True)
    if not images:
        raise ValueError("nothing to look at: give at least one of --spikes, --rgb, --nir, --thermal")
    if truth is not None:
        check_file(truth)
        depth_seen = read_depth_npy(truth, sky=np.inf)
    assumed = False
    if rig is not None and (focal is not None or camera_height is not None):
        raise ValueError("--focal and --camera-height are for a sensor without a --rig; the rig says both")
    if rig is not None:
        sensor_rig = fitted_rig(SensorRig.load(rig), {s: size_of(image) for s, image in images.items()}, rig)
    else:
        if len(images) > 1:
            raise ValueError(f"{' and '.join(images)} together need a --rig that says how they lie to each other")
        (sensor, image), assumed = next(iter(images.items())), focal is None
        sensor_rig = single_rig(sensor, size_of(image), focal, camera_height)
        if assumed:
            used = sensor_rig.cameras[sensor].fx
            typer.echo(
                f"warning: no --rig and no --focal: a focal length of {used:.0f} px is assumed; depth scales with it",
                err=True,
            )
    estimator = DepthEstimator.load(checkpoint, device, backend, pixels)
    if "spikes" in images:
        first = max(0, last - estimator.spike_planes)
        images["spikes"] = images["spikes"].slice(first, last)
        if last - first < estimator.spike_planes:
            typer.echo(
                f"warning: depth is of {last - first} spike planes of {spikes}; the network looks at "
                f"{estimator.spike_planes}, and knows less from fewer",
                err=True,
            )
    sample = DepthSample(sensor_rig, **images)
    loaded = time.perf_counter()
    estimator.estimate(sample, reference)  # the first call compiles and allocates; the second is what a node sees
    warmed = time.perf_counter()
    estimate = estimator.estimate(sample, reference)
    done = time.perf_counter()

    pictures = sensor_cells(sample)
    pictures += [("depth", colorize_depth(estimate.depth)), ("uncertainty", colorize_uncertainty(estimate.uncertainty))]
    metrics: dict = {
        "sensors": list(estimate.sensors),
        "reference": estimate.reference,
        "focal_px": estimate.camera.fx,
        "focal_assumed": assumed,
        "rectified": any(sensor_rig.cameras[estimate.reference].distortion),
        "checkpoint_sha256": estimator.info.sha256,
        "backend": estimator.backend,
        "pixels": estimator.pixels,
        "depth_m": {q: float(np.percentile(estimate.depth, p)) for q, p in (("p5", 5), ("p50", 50), ("p95", 95))},
        "uncertainty_median": float(np.median(estimate.uncertainty)),
        "timings_ms": {
            "load": 1e3 * (loaded - begin),
            "first_estimate": 1e3 * (warmed - loaded),
            "estimate": 1e3 * (done - warmed),
        },
    }
    if "spikes" in images:
        metrics["spike_planes"] = len(images["spikes"])
    which = ["depth", "uncertainty"]
    if truth is not None:
        if depth_seen.shape != estimate.depth.shape:
            (height, width), (found_height, found_width) = estimate.depth.shape, depth_seen.shape
            raise ValueError(
                f"{truth}: true depth of {width}x{height} pixels was expected, found {found_width}x{found_height}"
            )
        true_depth = rectified_truth(replace(sample, depth={estimate.reference: depth_seen}), estimate.reference)
        metrics |= frame_metrics(estimate.depth, true_depth) | {"frames": 1, "scaling": "none"}
        metrics["median_scaled"] = frame_metrics(estimate.depth, true_depth, scaling="median")
        pictures += [("truth", colorize_depth(true_depth)), ("error", colorize_error(estimate.depth, true_depth))]
        which.append("error")
    rows_of_pictures = [pictures[i : i + 3] for i in range(0, len(pictures), 3)]
    sheet = grid(rows_of_pictures, footer=bars(380 * len(which), which))
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "depth.npy", estimate.depth)
    np.save(out / "uncertainty.npy", estimate.uncertainty)
    write_png(out / "depth.png", sheet)
    write_json(out / "metrics.json", metrics)
    rows = [("sensors", ", ".join(estimate.sensors)), ("frame of", estimate.reference)]
    rows += [(f"depth {q}", f"{v:.1f} m") for q, v in metrics["depth_m"].items()]
    rows += [("uncertainty, median", f"{metrics['uncertainty_median']:.1%}")]
    rows += [("estimate", f"{metrics['timings_ms']['estimate']:.0f} ms by {estimator.backend}")]
    if truth is not None:
        rows += [("AbsRel", f"{metrics['abs_rel']:.4f}"), ("RMSE", f"{metrics['rmse']:.2f} m")]
    print_facts(f"Depth in {out}", rows)


def size_of(image: Any) -> tuple[int, int]:
    """(height, width) of a picture or a spike recording."""
    return (image.height, image.width) if hasattr(image, "height") else image.shape[:2]


def single_rig(sensor: str, size: tuple[int, int], focal: float | None, over_road: float | None) -> SensorRig:
    """A rig of one camera with its principal point in the middle."""
    from spike_depth_core.geometry import PinholeCamera, SensorRig

    height, width = size
    return SensorRig.single(
        sensor, PinholeCamera.from_focal(width, height, 0.8 * width if focal is None else focal), over_road
    )


def fitted_rig(rig: SensorRig, sizes: dict[str, tuple[int, int]], path: Path) -> SensorRig:
    """The rig with its cameras scaled to the pictures given. Raises ValueError where a picture cannot be theirs."""
    from spike_depth_core.geometry import SensorRig

    cameras = dict(rig.cameras)
    for sensor, (height, width) in sizes.items():
        if sensor not in cameras:
            raise ValueError(f"{path} has no sensor {sensor!r}; it has {sorted(cameras)}")
        camera = cameras[sensor]
        if abs(width / camera.width - height / camera.height) > 0.01 * width / camera.width:
            raise ValueError(
                f"the {sensor} picture is {width}x{height} pixels, its camera in {path} {camera.width}x{camera.height}"
            )
        cameras[sensor] = camera.resized(width, height)
    return SensorRig(cameras, rig.poses, rig.reference, rig.height)
