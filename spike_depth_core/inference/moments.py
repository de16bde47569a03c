"""From a moment of live or recorded streams to the sample that the estimator takes."""

from __future__ import annotations

from typing import Any

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples import DepthSample
from spike_depth_core.streams import Moment


def sample_from_moment(moment: Moment, rig: SensorRig, spike_camera: PinholeCamera | None) -> DepthSample:
    """The sample of a moment.

    Args:
        moment: spikes and frames, the frames with their cameras' intrinsics.
        rig: gives the poses of the sensors; its intrinsics are not used. A sensor it does not have is taken to sit at
            its reference.
        spike_camera: intrinsics of the spike camera; needed where the moment has spikes.

    Raises:
        ValueError: when intrinsics are missing, or do not fit the size of what the sensor delivered.
    """
    cameras = {sensor: frame.camera for sensor, frame in moment.frames.items()}
    if moment.spikes is not None:
        if spike_camera is None:
            raise ValueError("the moment has spikes, but the spike camera's intrinsics are not known")
        cameras["spikes"] = spike_camera
    # A rig's reference is one of its cameras. Poses are kept relative to the rig's own; where that one is not there,
    # any other serves as well, because only the sensors' places to one another matter.
    poses = {sensor: rig.reference_from(sensor) for sensor in cameras if sensor in rig.cameras}
    reference = rig.reference if rig.reference in cameras else next(iter(cameras))
    images: dict[str, Any] = {sensor: frame.image for sensor, frame in moment.frames.items()}
    return DepthSample(
        rig=SensorRig(cameras, poses, reference, rig.height), time_ns=moment.time_ns, spikes=moment.spikes, **images
    )
