"""Samples of moments with whatever sensors there are."""

from __future__ import annotations

import numpy as np
import pytest

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.moments import blank_image, sample_from_moment
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.samples import SENSORS
from spike_depth_core.streams import Frame, Moment
from test.core.factories import small_rig, small_sample

RIG = SensorRig(small_rig().cameras, small_rig().poses, "spikes", height=1.3)


def moment(*sensors: str) -> Moment:
    sample = small_sample()
    frames = {s: Frame(7, getattr(sample, s), RIG.cameras[s]) for s in sensors if s != "spikes"}
    return Moment(7, sample.spikes if "spikes" in sensors else None, frames)


def test_the_sample_has_what_the_moment_has_and_all_of_the_rig():
    sample = sample_from_moment(moment("spikes", "thermal"), RIG, {"spikes": RIG.cameras["spikes"]})
    assert sample.sensors == ("spikes", "thermal")
    assert sample.time_ns == 7
    assert sample.rig.height == 1.3
    np.testing.assert_array_equal(sample.rig.transform("spikes", "thermal"), RIG.transform("spikes", "thermal"))


def test_poses_stay_as_they_are_without_the_rigs_reference():
    sample = sample_from_moment(moment("rgb", "thermal"), RIG, {})
    assert sample.rig.reference == "rgb"
    np.testing.assert_allclose(sample.rig.transform("rgb", "thermal"), RIG.transform("rgb", "thermal"))
    assert sample.rig.height_of("thermal") == RIG.height_of("thermal")


@pytest.mark.parametrize("reference", SENSORS)
def test_depth_can_be_in_the_frame_of_a_sensor_that_is_away(reference):
    estimator = DepthEstimator.untrained(0, Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1))
    present = tuple(sensor for sensor in SENSORS if sensor != reference)
    sample = sample_from_moment(moment(*present), RIG, RIG.cameras, reference)
    estimate = estimator.estimate(sample, reference, present)
    camera = RIG.cameras[reference]
    assert estimate.depth.shape == (camera.height, camera.width)
    assert (estimate.reference, estimate.sensors) == (reference, present)


def test_a_reference_that_is_there_is_not_blanked():
    sample = sample_from_moment(moment("spikes"), RIG, RIG.cameras, "spikes")
    assert len(sample.spikes) == 64


@pytest.mark.parametrize(("sensors", "reference"), [(("spikes",), None), (("rgb",), "spikes")])
def test_intrinsics_that_are_not_known_are_named(sensors, reference):
    with pytest.raises(ValueError, match="intrinsics of spikes are needed"):
        sample_from_moment(moment(*sensors), RIG, {}, reference)


def test_blank_images_are_those_of_the_sensor():
    for sensor in ("rgb", "nir", "thermal"):
        image = blank_image(sensor, RIG.cameras[sensor])
        assert image.shape[:2] == (RIG.cameras[sensor].height, RIG.cameras[sensor].width)
        assert not image.any()
