"""What cameras make of a rendered street: spikes, colour, near infrared and thermal images.

A sensor is a frozen set of numbers, drawn at random around those of real cameras so that no network learns
one camera by heart, and a method `observe` that turns a `RenderPass` into the sensor's output. Everything is
deterministic in the pass, the numbers and a seed.

One pass is enough for motion: see `motion.py`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numba import njit
from PIL import Image

from spike_depth_core.samples import modality
from spike_depth_core.spikes import PackedSpikes, RealtimeSpikeCamera, SpikeCameraParameters
from spike_depth_core.spikes.packed import DEFAULT_PERIOD_NS
from spike_depth_core.world.motion import Motion
from spike_depth_core.world.rain import RainInView

PANCHROMATIC = np.array([0.25, 0.35, 0.2, 0.2], np.float32)
"""Response of bare silicon to red, green, blue and near infrared; a white surface gives 1."""

PLANES_PER_LEVEL = 16  # light is constant that long: 0.8 ms, in which 600 px/s are half a pixel
PLANES_PER_DROP = 4  # and behind rain: 0.2 ms, in which a drop falls about its own diameter


class Rendered(Protocol):
    """What a sensor looks at: the fields of `RenderPass` that it uses."""

    @property
    def radiance(self) -> np.ndarray:
        """float32 [H, W, 4]: red, green, blue, near infrared; 1 is white in noon sun."""

    @property
    def temperature(self) -> np.ndarray:
        """float32 [H, W], kelvin."""

    @property
    def depth(self) -> np.ndarray:
        """float32 [H, W], metres, +inf for the sky."""

    @property
    def velocity(self) -> np.ndarray:
        """float32 [H, W, 2], pixels a second."""

    @property
    def rain(self) -> RainInView | None:
        """Drops before the camera."""


def softened(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur [H, W] or [H, W, C] by a kernel of three pixels each way; `sigma` is at most 0.7 pixels."""
    side = np.float32(min(sigma, 0.7) ** 2 / 2)
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if i == axis else (0, 0) for i in range(image.ndim)], mode="edge")
        before, after = np.split(padded, [2], axis)[1], np.split(padded, [-2], axis)[0]
        image = image + side * (before + after - 2 * image)
    return image


@dataclass(frozen=True)
class SpikeSensor:
    """A spike camera behind a lens of fixed aperture.

    Attributes:
        parameters: the camera; its gain is the rate of white in noon sun, spikes a plane.
        softness: blur of the lens, standard deviation in pixels.
        period_ns: time from plane to plane.
        seed: of the fixed pattern.
    """

    parameters: SpikeCameraParameters = field(default_factory=SpikeCameraParameters)
    softness: float = 0.3
    period_ns: int = DEFAULT_PERIOD_NS
    seed: int = 0

    @classmethod
    def draw(cls, random: np.random.Generator, condition: str) -> SpikeSensor:
        """A camera at random, with the aperture one would choose for the light."""
        aperture = {"day": 2.2, "dusk": 3.2, "night": 3.8}[condition]
        return cls(
            SpikeCameraParameters(
                gain=aperture * 2 ** random.uniform(-0.9, 0.7),
                electrons=2 ** random.uniform(7.6, 11.0),
                dark_rate=0.001 * 2 ** random.uniform(-2.0, 1.0),
                gain_spread=random.uniform(0.01, 0.05),
                dark_spread=random.uniform(0.2, 0.7),
            ),
            random.uniform(0.0, 0.6),
            seed=int(random.integers(1 << 31)),
        )

    def camera(self, height: int, width: int, start_ns: int, seed: int) -> RealtimeSpikeCamera:
        """The camera in working order; `seed` is that of its noise."""
        return RealtimeSpikeCamera(
            height, width, self.parameters, seed, self.period_ns, start_ns, pattern_seed=self.seed
        )

    def light(self, rendered: Rendered) -> np.ndarray:
        """What falls on its pixels, float32 [H, W]: 1 is white in noon sun."""
        return softened(rendered.radiance @ PANCHROMATIC, self.softness)

    def observe(self, rendered: Rendered, planes: int, end_ns: int, seed: int) -> PackedSpikes:
        """The `planes` planes that end at the moment of the pass, `end_ns`."""
        light = self.light(rendered)
        height, width = light.shape
        start_ns = end_ns - planes * self.period_ns
        camera = self.camera(height, width, start_ns, seed)
        motion = Motion(rendered.velocity, rendered.depth, planes * self.period_ns * 1e-9)
        data = np.empty((planes, height, (width + 7) // 8), np.uint8)
        for first in range(0, planes, PLANES_PER_LEVEL):
            last = min(first + PLANES_PER_LEVEL, planes)
            dt = ((first + last) / 2 - planes) * self.period_ns * 1e-9
            moved = motion.moved(light, dt)
            if rendered.rain is None:
                camera.expose(moved, last - first, data[first:last])
            else:
                before = (first - planes) * self.period_ns * 1e-9
                self.expose_behind_rain(camera, moved, rendered.rain, before, data[first:last])
        return PackedSpikes(data, width, self.period_ns, start_ns)

    def expose_behind_rain(
        self, camera: RealtimeSpikeCamera, light: np.ndarray, rain: RainInView, begin_s: float, out: np.ndarray
    ) -> None:
        """Read out the planes `out` [T, H, W / 8], the first beginning `begin_s` from the moment of the drops' places.

        The light stays, the drops fall.
        """
        period = self.period_ns * 1e-9
        for first in range(0, len(out), PLANES_PER_DROP):
            last = min(first + PLANES_PER_DROP, len(out))
            seen = rain.over(light[..., None], begin_s + first * period, begin_s + last * period, PANCHROMATIC[:, None])
            camera.expose(seen[..., 0], last - first, out[first:last])


@dataclass(frozen=True)
class ImageSensor:
    """An ordinary camera with automatic exposure, colour or near infrared.

    Attributes:
        channels: which of (red, green, blue, near infrared) it has.
        key: linear mean brightness that the exposure aims at, of saturation.
        metered: fraction of the rows, from the bottom, that the exposure looks at.
        exposure_limit_s: longest exposure; beyond, the gain is raised.
        gain_limit: largest gain; beyond, the image stays dark.
        sensitivity: photoelectrons a second from white in noon sun.
        full_well: photoelectrons at saturation, gain 1.
        read_noise: photoelectrons.
        balance: gain of each channel (white balance).
        softness: blur of lens and demosaicing, standard deviation in pixels.
        vignetting: light lost in the corners, fraction.
        contrast: bends the tone curve: above 0 darkens shadows and brightens lights, at most 0.6.
        gamma: brightens (below 1) or darkens (above 1) the mid tones.
        jpeg_quality: of a compression; 0 for none.
    """

    channels: tuple[int, ...] = (0, 1, 2)
    key: float = 0.2
    metered: float = 0.7
    exposure_limit_s: float = 0.015
    gain_limit: float = 8.0
    sensitivity: float = 0.9e6
    full_well: float = 5_000.0
    read_noise: float = 6.0
    balance: tuple[float, ...] = (1.0, 1.0, 1.0)
    softness: float = 0.4
    vignetting: float = 0.1
    contrast: float = 0.2
    gamma: float = 1.0
    jpeg_quality: int = 0

    @classmethod
    def draw(cls, random: np.random.Generator, channels: tuple[int, ...]) -> ImageSensor:
        """A camera at random."""
        balance = 2 ** random.normal(0.0, 0.12, len(channels))
        return cls(
            channels=channels,
            key=0.2 * 2 ** random.uniform(-1.5, 0.9),
            metered=random.uniform(0.5, 1.0),
            exposure_limit_s=random.uniform(0.008, 0.02),
            gain_limit=2 ** random.uniform(1.5, 4.0),
            sensitivity=0.9e6 * 2 ** random.uniform(-1.0, 1.0),
            read_noise=random.uniform(3.0, 10.0),
            balance=tuple(float(b) for b in balance / balance.mean()),
            softness=random.uniform(0.0, 0.7),
            vignetting=random.uniform(0.0, 0.3),
            contrast=random.uniform(-0.1, 0.55),
            gamma=2 ** random.uniform(-0.3, 0.4),
            jpeg_quality=int(random.integers(60, 97)) if random.random() < 0.3 else 0,
        )

    def exposure(self, radiance: np.ndarray) -> tuple[float, float]:
        """Exposure time in seconds and gain for an image of radiance float32 [H, W, C]."""
        rows = radiance[-max(1, round(self.metered * len(radiance))) :: 4, ::4].mean(2)
        # Bright lamps and sky saturate: the exposure that gives the key is where the mean of the clipped
        # image is.
        scale = self.key / max(float(rows.mean()), 1e-9)
        for _ in range(8):
            scale *= self.key / max(float(np.minimum(rows * scale, 1.0).mean()), 1e-9)
            scale = min(scale, 1e30)  # of a picture without light, within what float32 holds: 0 times infinity is none
        seconds = scale * self.full_well / self.sensitivity
        gain = min(max(seconds / self.exposure_limit_s, 1.0), self.gain_limit)
        return min(max(seconds, 5e-5), self.exposure_limit_s), gain

    def observe(self, rendered: Rendered, seed: int, metered: Rendered | None = None) -> np.ndarray:
        """uint8 [H, W, C], or [H, W] for one channel. The exposure is centred on the moment of the pass.

        metered: the pass that the length of the exposure is measured by, if not the same.
        """
        random = np.random.default_rng([seed, 0x1CA6E])
        radiance = np.ascontiguousarray(rendered.radiance[..., list(self.channels)])
        radiance = np.minimum(radiance, np.float32(1e3))  # the sun's disc would bleed over the image
        measured = radiance if metered is None else metered.radiance[..., list(self.channels)]
        seconds, gain = self.exposure(np.minimum(measured, np.float32(1e3)))
        motion = Motion(rendered.velocity, rendered.depth, seconds / 2)
        light = motion.exposed(radiance, -seconds / 2, seconds / 2)
        if rendered.rain is not None:
            light = rendered.rain.over(light, -seconds / 2, seconds / 2, np.eye(4)[:, list(self.channels)])
        light = softened(light, self.softness)
        height, width, _ = light.shape
        y = (np.arange(height, dtype=np.float32) / max(height - 1, 1) - 0.5)[:, None]
        x = (np.arange(width, dtype=np.float32) / max(width - 1, 1) - 0.5)[None]
        shading = 1 - np.float32(2 * self.vignetting) * (x * x + y * y)
        balance = np.array(self.balance, np.float32) * np.float32(self.sensitivity * seconds)
        noise = random.standard_normal(light.shape, dtype=np.float32)
        image = np.empty(light.shape, np.uint8)
        _develop(
            light,
            shading,
            balance,
            noise,
            np.float32(self.read_noise**2),
            np.float32(gain / self.full_well),
            self._tones(),
            image,
        )
        if self.jpeg_quality:
            image = _compressed(image, self.jpeg_quality)
        return image[..., 0] if len(self.channels) == 1 else image

    def _tones(self) -> np.ndarray:
        """8-bit value by linear value: sRGB, bent by gamma and contrast."""
        linear = np.linspace(0.0, 1.0, 4096)
        value = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        value = value**self.gamma
        value = value + self.contrast * value * (1 - value) * (2 * value - 1) * 2
        return np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)


@njit(cache=True, nogil=True, fastmath=True)
def _develop(light, shading, balance, noise, read_variance, to_value, tones, image):
    height, width, channels = light.shape
    top = np.float32(tones.size - 1)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                electrons = light[y, x, c] * shading[y, x] * balance[c]
                electrons += np.sqrt(electrons + read_variance) * noise[y, x, c]
                value = min(max(electrons * to_value, np.float32(0.0)), np.float32(1.0))
                image[y, x, c] = tones[int(value * top + np.float32(0.5))]


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


@dataclass(frozen=True)
class ThermalSensor:
    """An uncooled thermal camera.

    Attributes:
        netd: noise, standard deviation in kelvin.
        column_noise: fixed pattern of the columns' amplifiers, standard deviation in kelvin.
        pixel_noise: fixed pattern left by the last flat-field correction, standard deviation in kelvin.
        offset: drift of the whole image in kelvin.
        softness: blur of the lens, standard deviation in pixels.
        lag_s: how long a pixel integrates, up to the moment of the pass: the image trails behind by half of it.
        seed: of the fixed pattern.
    """

    netd: float = 0.065
    column_noise: float = 0.03
    pixel_noise: float = 0.04
    offset: float = 0.0
    softness: float = 0.55
    lag_s: float = 0.01
    seed: int = 0

    @classmethod
    def draw(cls, random: np.random.Generator) -> ThermalSensor:
        """A camera at random."""
        return cls(
            netd=random.uniform(0.05, 0.08),
            column_noise=random.uniform(0.0, 0.06),
            pixel_noise=random.uniform(0.02, 0.06),
            offset=random.uniform(-1.5, 1.5),
            softness=random.uniform(0.4, 0.7),
            lag_s=random.uniform(0.004, 0.012),
            seed=int(random.integers(1 << 31)),
        )

    def observe(self, rendered: Rendered, seed: int) -> np.ndarray:
        """uint16 [H, W] in centikelvin. The integration ends at the moment of the pass."""
        height, width = rendered.temperature.shape
        pattern = np.random.default_rng([self.seed, 0x7E4])
        fixed = pattern.standard_normal((height + 1, width), dtype=np.float32)
        noise = np.random.default_rng([seed, 0x7E4]).standard_normal((height, width), dtype=np.float32)
        motion = Motion(rendered.velocity, rendered.depth, self.lag_s)
        kelvin = motion.exposed(rendered.temperature[..., None], -self.lag_s, 0.0)[..., 0]
        if rendered.rain is not None:
            kelvin = rendered.rain.warmed(kelvin, -self.lag_s, 0.0)
        kelvin = softened(kelvin, self.softness) + np.float32(self.offset)
        kelvin += np.float32(self.pixel_noise) * fixed[:-1] + np.float32(self.column_noise) * fixed[-1]
        kelvin += np.float32(self.netd) * noise
        return np.rint(np.clip(kelvin * 100, 0, 65_535)).astype(np.uint16)


@dataclass(frozen=True)
class SensorSuite:
    """One vehicle's sensors."""

    spikes: SpikeSensor = SpikeSensor()
    rgb: ImageSensor = ImageSensor()
    nir: ImageSensor = ImageSensor(channels=(3,), balance=(1.0,))
    thermal: ThermalSensor = ThermalSensor()

    @classmethod
    def draw(cls, seed: int, condition: str) -> SensorSuite:
        """Sensors at random."""
        random = np.random.default_rng([seed, 0x5E45])
        nir = ImageSensor.draw(random, (3,))
        return cls(
            SpikeSensor.draw(random, condition),
            ImageSensor.draw(random, (0, 1, 2)),
            replace(nir, vignetting=0.5 * nir.vignetting),
            ThermalSensor.draw(random),
        )

    def of(self, image: str) -> SpikeSensor | ImageSensor | ThermalSensor:
        """The sensor that takes an image. A right-hand camera is of its left one's model, with a pattern of its own."""
        kind = modality(image)
        sensor: SpikeSensor | ImageSensor | ThermalSensor = getattr(self, kind)
        if image == kind or isinstance(sensor, ImageSensor):
            return sensor
        return replace(sensor, seed=sensor.seed ^ 0x5EC0)
