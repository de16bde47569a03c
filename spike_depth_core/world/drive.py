"""A drive through a street, seen by a vehicle's sensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.resources import config_path
from spike_depth_core.samples import IMAGES, DepthSample, modality
from spike_depth_core.world.rain import RainField
from spike_depth_core.world.render import RenderPass, render
from spike_depth_core.world.scene import EARLIEST, LATEST, Scene, build_scene
from spike_depth_core.world.sensors import ImageSensor, SensorSuite, SpikeSensor

RAIN_SPAN_S = 0.013  # drops are gathered for at least: the spike planes of a sample, and half of any exposure
MAX_TILT = np.pi / 6
MAX_HEADING = np.pi / 2  # what lies behind the vehicle is built for the length of a shadow only
_NOISE_EPOCH_NS = 10**10  # seeds are not negative, times may be


def vehicle_rig() -> SensorRig:
    """The default rig, `config/rigs/vehicle.yaml`."""
    return SensorRig.load(config_path("rigs/vehicle.yaml"))


class World:
    """A street and a vehicle with sensors in it. The same arguments give the same samples, to the bit.

    Args:
        seed: of the street, its traffic, and the sensors' own numbers.
        condition: "day", "dusk" or "night"; None draws it from the seed.
        rig: where the sensors are; by default `vehicle_rig()` at a height of the seed's own. A rig that does not know
            its height gets the seed's too. Sensors that share a camera and a pose share a rendering.
        supersample: 2 casts four rays a pixel: smooth edges for nearly twice the time. 1 casts one.
        workers: threads that render.
        heading: radians by which the rig looks to the right of where the vehicle drives: a camera at its side.
        tilt: radians by which the rig looks up, and nobody is told: how it was mounted, or the car is laden.
        options: `layout`, `speed`, `weather` and `town`, see `build_scene`.

    Attributes:
        scene: the street.
        rig: where the sensors are, at its height over the road.
        rain: the drops in the air; None where it does not rain.
        suite: the sensors' own numbers.
    """

    def __init__(
        self,
        seed: int,
        condition: str | None = None,
        rig: SensorRig | None = None,
        supersample: int = 2,
        workers: int = 1,
        heading: float = 0.0,
        tilt: float = 0.0,
        **options: Any,
    ) -> None:
        if not abs(heading) <= MAX_HEADING:
            raise ValueError(f"heading must be within {MAX_HEADING:.2f} rad of ahead, found {heading}")
        if not abs(tilt) <= MAX_TILT:
            raise ValueError(f"tilt must be within {MAX_TILT:.2f} rad of level, found {tilt}")
        rig = rig or replace(vehicle_rig(), height=None)
        self.scene: Scene = build_scene(seed, condition, camera_height=rig.height, **options)
        self.rig = replace(rig, height=self.scene.camera_height)
        weather = self.scene.weather
        self.rain = RainField(seed, weather) if weather is not None and weather.rain_mm_h > 0.0 else None
        self.suite = SensorSuite.draw(seed, self.scene.condition)
        self.supersample, self.workers = supersample, workers
        turn = pose((0.0, 0.0, 0.0), (0.0, float(np.sin(heading / 2)), 0.0, float(np.cos(heading / 2))))
        self._turned = turn @ pose((0.0, 0.0, 0.0), (float(np.sin(tilt / 2)), 0.0, 0.0, float(np.cos(tilt / 2))))
        for name, camera in self.rig.cameras.items():
            if any(camera.distortion):
                raise ValueError(f"the world renders undistorted cameras only, but {name} has distortion")

    @property
    def condition(self) -> str:
        return self.scene.condition

    def world_from(self, sensor: str, time_s: float) -> np.ndarray:
        """4x4 pose of a sensor in the world (metres, z up) at a time."""
        return self.world_from_reference(time_s) @ self.rig.reference_from(sensor)

    def world_from_reference(self, time_s: float) -> np.ndarray:
        """4x4 pose of the rig's reference camera (x right, y down, z forward) in the world at a time."""
        return self.scene.world_from_reference(time_s) @ self._turned

    def speed(self, time_s: float) -> float:
        """Speed of the vehicle in m/s at a time."""
        step = 1e-3
        places = [self.scene.world_from_reference(time_s + sign * step)[:3, 3] for sign in (-1, 1)]
        return float(np.linalg.norm(places[1] - places[0]) / (2 * step))

    def render(self, time_s: float, sensors: Sequence[str], span_s: float = RAIN_SPAN_S) -> dict[str, RenderPass]:
        """What perfect cameras in the sensors' places would measure; the same object where they coincide. Rain is there
        within `span_s` of the time."""
        snapshot = self.scene.snapshot(time_s)
        passes: list[tuple[PinholeCamera, np.ndarray, RenderPass]] = []
        by_sensor = {}
        for sensor in sensors:
            self._check(sensor)
            camera, pose = self.rig.cameras[sensor], self.rig.reference_from(sensor)
            for other_camera, other_pose, done in passes:
                if camera == other_camera and np.array_equal(pose, other_pose):
                    by_sensor[sensor] = done
                    break
            else:
                looking = functools.partial(self.world_from, sensor)
                done = render(
                    self.scene,
                    camera,
                    looking,
                    time_s,
                    supersample=self.supersample,
                    workers=self.workers,
                    snapshot=snapshot,
                )
                if self.rain is not None:
                    done.rain = self.rain.in_view(
                        camera, looking, time_s, span_s, done.depth, self.scene.light, snapshot.lamps
                    )
                by_sensor[sensor] = done
                passes.append((camera, pose, by_sensor[sensor]))
        return by_sensor

    def sample(
        self,
        time_s: float,
        planes: int = 256,
        sensors: Sequence[str] | None = None,
        sequence: int | None = None,
        frame: int = 0,
    ) -> DepthSample:
        """The sensors' output at a time, the vehicle's pose, and true depth in the frame of each sensor.

        Args:
            time_s: the moment: colour and near infrared exposures are centred on it, the spike planes and the thermal
                camera's integration end at it, depth is of it.
            planes: how many spike planes.
            sensors: which of the rig's, right-hand ones (`rgb_right`) too; all if left out.
            sequence, frame: what to note in the sample's `meta`; the sequence is the seed if left out.
        """
        sensors = self._images(sensors)
        time_ns = round(time_s * 1e9)
        noise = noise_seed(self.scene.seed, time_ns)
        span_s = max(RAIN_SPAN_S, planes * self.suite.spikes.period_ns * 1e-9)
        passes = self.render(time_s, sensors, span_s)
        return DepthSample(
            rig=self.rig,
            time_ns=time_ns,
            **{image: self.observe(image, passes, planes, time_ns, noise) for image in passes},
            depth={image: rendered.depth for image, rendered in passes.items()},
            meta=self.about(time_s, sequence, frame),
            world_from_reference=self.world_from_reference(time_s),
        )

    def _check(self, sensor: str) -> None:
        if sensor not in self.rig.cameras:
            raise ValueError(f"the rig has no {sensor}; it has {sorted(self.rig.cameras)}")

    def _images(self, sensors: Sequence[str] | None) -> Sequence[str]:
        """The sensors that are asked for."""
        if sensors is None:
            return [image for image in IMAGES if image in self.rig.cameras]
        unknown = set(sensors) - set(IMAGES)
        if unknown or not sensors:
            raise ValueError(f"sensors must be some of {IMAGES}, found {tuple(sensors)}")
        for sensor in sensors:
            self._check(sensor)
        return sensors

    def observe(self, image: str, passes: Mapping[str, RenderPass], planes: int, time_ns: int, noise: int) -> Any:
        """What a sensor makes of its pass: planes or an image.

        Args:
            image: name of the sensor, right-hand ones too.
            passes: of all sensors of the moment.
            planes: how many, of a spike camera.
            time_ns: when they end.
            noise: seed of the moment's noise.
        """
        sensor, left = self.suite.of(image), modality(image)
        if image != left:
            noise = int(np.random.SeedSequence([noise, 1]).generate_state(1)[0])
        if isinstance(sensor, SpikeSensor):
            return sensor.observe(passes[image], planes, time_ns, noise)
        if isinstance(sensor, ImageSensor):
            # The two cameras of a stereo pair expose alike: by what the left one sees, where that is there.
            return sensor.observe(passes[image], noise, passes.get(left))
        return sensor.observe(passes[image], noise)

    def about(self, time_s: float, sequence: int | None = None, frame: int = 0) -> dict[str, Any]:
        """The `meta` of a sample at a time."""
        scene = self.scene
        weather = scene.weather
        strength = {}
        if weather is not None and weather.kind == "fog":
            strength = {"visibility": round(weather.visibility_m, 1)}
        if weather is not None and weather.kind == "rain":
            strength = {"rain": round(weather.rain_mm_h, 2)}
        return {
            "source": "world",
            "seed": scene.seed,
            "sequence": scene.seed if sequence is None else sequence,
            "frame": frame,
            "condition": scene.condition,
            "weather": None if weather is None else weather.kind,
            **strength,
            "town": scene.town.name,
            "layout": scene.layout,
            "speed": round(self.speed(time_s), 3),
            "spike_gain": round(self.suite.spikes.parameters.gain, 4),
        }

    def frames(
        self,
        count: int,
        rate_hz: float = 30.0,
        start_s: float = 1.0,
        planes: int = 256,
        sensors: Sequence[str] | None = None,
        sequence: int | None = None,
    ) -> Iterator[DepthSample]:
        """`count` samples along the drive, `1 / rate_hz` seconds apart; their `meta` counts them in `frame`.

        Raises:
            ValueError: at once, not when the first is taken: a drive that no scene holds, sensors that are not there.
        """
        check_rate(rate_hz)
        check_times(start_s, start_s + max(count - 1, 0) / rate_hz)
        sensors = self._images(sensors)
        return (self.sample(start_s + k / rate_hz, planes, sensors, sequence, k) for k in range(count))


def check_rate(rate_hz: float) -> None:
    """Raise ValueError for what is no rate."""
    if not 0.0 < rate_hz < math.inf:
        raise ValueError(f"rate_hz must be above 0, found {rate_hz}")


def check_times(first_s: float, last_s: float) -> None:
    """Raise ValueError for a drive that a scene does not hold."""
    if not EARLIEST <= round(first_s, 6) <= round(last_s, 6) <= LATEST:  # to the microsecond: sums of times are rounded
        raise ValueError(
            f"a drive cannot go from {first_s:g} to {last_s:g} s: a scene lasts from {EARLIEST:g} to {LATEST:g} s"
        )


def noise_seed(seed: int, time_ns: int) -> int:
    """A seed for the noise of one moment of one drive."""
    return int(np.random.SeedSequence([seed, time_ns + _NOISE_EPOCH_NS]).generate_state(1)[0])
