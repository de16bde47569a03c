"""From a moment of live or recorded streams to the sample that the estimator takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Moment


def sample_from_moment(
    moment: Moment, rig: SensorRig, cameras: Mapping[str, PinholeCamera], reference: str | None = None
) -> DepthSample:
    """The sample of a moment.

    Args:
        moment: spikes and frames, the frames with their cameras' intrinsics.
        rig: gives the poses of the sensors. A sensor it does not have is taken to sit at its reference.
        cameras: intrinsics that are known beside those of the frames; the spike camera's where the moment has spikes.
        reference: a sensor in whose frame depth is wanted, though the moment may lack it: then its image is blank, and
            is to be left out of those that the estimator uses.

    Raises:
        ValueError: when intrinsics are missing, or do not fit the size of what the sensor delivered.
    """
    known = {sensor: frame.camera for sensor, frame in moment.frames.items()}
    images: dict[str, Any] = {sensor: frame.image for sensor, frame in moment.frames.items()}
    if moment.spikes is not None:
        images["spikes"] = moment.spikes
        known["spikes"] = _camera_of("spikes", cameras)
    if reference is not None and reference not in images:
        known[reference] = camera = _camera_of(reference, cameras)
        images[reference] = blank_image(reference, camera)
    # A rig's reference is one of its cameras. Poses are kept relative to the rig's own; where that one is not there,
    # any other serves as well, because only the sensors' places to one another matter.
    poses = {sensor: rig.reference_from(sensor) for sensor in known if sensor in rig.cameras}
    own = rig.reference if rig.reference in known else next(iter(known))
    return DepthSample(
        rig=dataclasses.replace(rig, cameras=known, poses=poses, reference=own),
        time_ns=moment.time_ns,
        offsets_ns=moment.offsets_ns,
        **images,
    )


def pose_of_reference(
    world_from_child: np.ndarray,
    child: str,
    rig: SensorRig,
    frame_ids: Mapping[str, str],
    transform: Callable[[str, str], np.ndarray | None],
) -> np.ndarray | None:
    """4x4 pose of a rig's reference in the world, metres; None where it is not known how the child lies to any sensor.

    Args:
        world_from_child: by odometry.
        child: the frame that odometry tells the pose of.
        rig: of the sample.
        frame_ids: of its sensors, as far as they are known.
        transform: 4x4 `target_from_source` of two frames, where that is known.
    """
    for sensor, frame in tuple(frame_ids.items()):  # another thread may hear of a sensor meanwhile
        child_from_sensor = transform(child, frame) if sensor in rig.cameras else None
        if child_from_sensor is not None:
            return world_from_child @ child_from_sensor @ np.linalg.inv(rig.reference_from(sensor))
    return None


def _camera_of(sensor: str, cameras: Mapping[str, PinholeCamera]) -> PinholeCamera:
    if sensor not in cameras:
        raise ValueError(f"the intrinsics of {sensor} are needed, but not known")
    return cameras[sensor]


def blank_image(sensor: str, camera: PinholeCamera) -> Any:
    """What a sensor delivers that sees nothing, in the form that `DepthSample` holds."""
    if sensor == "spikes":
        return PackedSpikes(np.zeros((1, camera.height, (camera.width + 7) // 8), np.uint8), camera.width)
    shape = (camera.height, camera.width, 3) if sensor == "rgb" else (camera.height, camera.width)
    return np.zeros(shape, np.uint8 if sensor == "rgb" else np.uint16)
