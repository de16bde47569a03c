"""The sensor models against the statistics they are built on."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from spike_depth_core.spikes import SpikeCameraParameters, spike_counts
from spike_depth_core.world.sensors import ImageSensor, SensorSuite, SpikeSensor, ThermalSensor, softened


@dataclass
class Flat:
    """A pass of one brightness and temperature, at rest."""

    level: float = 0.2
    kelvin: float = 290.0
    size: tuple[int, int] = (64, 80)

    def __post_init__(self):
        self.radiance = np.full((*self.size, 4), self.level, np.float32)
        self.temperature = np.full(self.size, self.kelvin, np.float32)
        self.depth = np.full(self.size, 10.0, np.float32)
        self.velocity = np.zeros((*self.size, 2), np.float32)
        self.rain = None


def test_spikes_fire_at_the_rate_of_the_light():
    sensor = SpikeSensor(SpikeCameraParameters.ideal(gain=0.5))
    spikes = sensor.observe(Flat(0.5), 256, end_ns=100_000_000, seed=0)
    assert np.all(spike_counts(spikes, [256]) == 64)
    assert spikes.end_ns == 100_000_000
    assert len(spikes) == 256


def test_spikes_see_motion_within_the_window():
    # A bright bar that moves 10 pixels in the 256 planes, to column 40 at the end.
    scene = Flat(0.02, size=(16, 80))
    scene.radiance[:, 40:44] = 1.0
    scene.velocity[..., 0] = 10 / (256 * 50e-6)
    spikes = SpikeSensor(SpikeCameraParameters.ideal(gain=0.5), softness=0.0).observe(scene, 256, 0, 0)
    first = spike_counts(spikes.slice(0, 32), [32])[0][8]
    last = spike_counts(spikes.slice(224, 256), [32])[0][8]
    assert abs(np.average(np.arange(80), weights=first**2.0) - 31.9) < 0.8
    assert abs(np.average(np.arange(80), weights=last**2.0) - 40.9) < 0.8


def test_an_odd_number_of_planes():
    assert len(SpikeSensor().observe(Flat(), 37, 0, 0)) == 37


def plain(**changed) -> ImageSensor:
    return replace(
        ImageSensor(balance=(1.0, 1.0, 1.0), softness=0.0, vignetting=0.0, contrast=0.0, gamma=1.0), **changed
    )


def linear(image: np.ndarray) -> np.ndarray:
    value = image / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("level", [0.05, 0.2, 1.0])
def test_exposure_brings_the_mean_to_its_key(level):
    image = plain(key=0.2, exposure_limit_s=1.0).observe(Flat(level), 0)
    assert image.shape == (64, 80, 3)
    assert image.dtype == np.uint8
    assert abs(linear(image).mean() - 0.2) < 0.01


def test_darkness_beyond_the_gain_stays_dark_and_noisy():
    sensor = plain(key=0.2, gain_limit=4.0, exposure_limit_s=0.01, sensitivity=1e6, full_well=5000.0)
    level = 0.001
    values = linear(sensor.observe(Flat(level), 0))
    electrons = level * 1e6 * 0.01
    # Clipped at black: compare with a normal distribution clipped alike.
    draws = electrons + np.sqrt(electrons + sensor.read_noise**2) * np.random.default_rng(0).standard_normal(10**6)
    expected = np.clip(draws * 4.0 / 5000.0, 0, 1)
    assert abs(values.mean() / expected.mean() - 1) < 0.05
    assert abs(values.std() / expected.std() - 1) < 0.05


@pytest.mark.parametrize("level", [0.0, 1e-38, 1e-20])
@pytest.mark.parametrize("rows", [4, 64])  # that have it, the others none
def test_without_light_the_exposure_is_the_longest_and_the_picture_dark(level, rows):
    sensor = plain(gain_limit=4.0, exposure_limit_s=0.01, read_noise=0.0)
    scene = Flat(0.0)
    scene.radiance[-rows:] = level
    assert sensor.exposure(scene.radiance[..., :3]) == (0.01, 4.0)
    assert sensor.observe(scene, 0).max() == 0


def test_a_lamp_saturates_and_does_not_darken_the_rest():
    scene = Flat(0.1)
    scene.radiance[:8, :8] = 500.0
    image = plain(metered=1.0).observe(scene, 0)
    assert image[:8, :8].min() == 255
    assert 60 < image[20:].mean() < 140


def test_near_infrared_is_one_channel():
    assert SensorSuite().nir.observe(Flat(), 0).shape == (64, 80)
    assert plain(jpeg_quality=70).observe(Flat(), 0).shape == (64, 80, 3)
    assert replace(SensorSuite().nir, jpeg_quality=70).observe(Flat(), 0).shape == (64, 80)


def test_thermal_noise_is_the_netd():
    sensor = ThermalSensor(netd=0.07, column_noise=0.0, pixel_noise=0.0, seed=3)
    images = [sensor.observe(Flat(kelvin=290.0, size=(100, 100)), seed).astype(float) for seed in (1, 2)]
    assert abs(images[0].mean() - 29_000) < 0.5
    difference = images[1] - images[0]
    assert abs(difference.std() / np.sqrt(2) - 7.0) < 0.25  # centikelvin; rounding adds 0.3 in square


def test_thermal_fixed_pattern_stays():
    sensor = ThermalSensor(netd=0.001, column_noise=0.3, pixel_noise=0.0, seed=3)
    images = [sensor.observe(Flat(), seed).astype(float) for seed in (1, 2)]
    columns = [image.mean(0) for image in images]
    assert np.corrcoef(columns)[0, 1] > 0.99
    assert abs(columns[0].std() - 30) < 8


@pytest.mark.parametrize("lag_s", [0.004, 0.01, 0.012])
def test_thermal_trails_by_half_of_its_lag_on_average(lag_s):
    scene = Flat(size=(8, 160))
    scene.temperature[:, :80] = 300.0
    scene.velocity[..., 0] = 1000.0
    sensor = ThermalSensor(netd=0.0, column_noise=0.0, pixel_noise=0.0, softness=0.0, lag_s=lag_s)
    warm = (sensor.observe(scene, 0)[4].astype(float) - 29_000).sum() / 1_000  # pixels that the edge has passed
    assert (80 - warm) / 1000.0 == pytest.approx(lag_s / 2, abs=2e-4)


def test_softening_keeps_the_light_and_has_its_width():
    point = np.zeros((21, 21), np.float32)
    point[10, 10] = 1.0
    blurred = softened(point, 0.6)
    assert abs(blurred.sum() - 1) < 1e-6
    x = np.arange(21) - 10
    assert abs((blurred.sum(0) * x**2).sum() - 0.6**2) < 1e-6


def test_sensors_are_drawn_from_the_seed():
    assert SensorSuite.draw(4, "night") == SensorSuite.draw(4, "night")
    assert SensorSuite.draw(4, "night") != SensorSuite.draw(5, "night")
