"""Domains: named settings of the world whose gap a method has to bridge, fixed in `config/domains/`.

A domain says where (town), when and in what air (looks), with which spikes and sensors, and which scene seeds belong
to which of its splits. Its samples are counted through: frame k of sequence n is sample n * frames + k.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import parse_yaml
from spike_depth_core.resources import config_path
from spike_depth_core.samples import IMAGES, DepthSample, modality
from spike_depth_core.world.drive import World, noise_seed
from spike_depth_core.world.mediate import Frame, MediateSpikes
from spike_depth_core.world.render import RenderPass
from spike_depth_core.world.scene import CONDITIONS
from spike_depth_core.world.towns import TOWNS
from spike_depth_core.world.weather import WEATHERS

SPLITS = {"train": (0, 500_000), "validation": (500_000, 700_000), "test": (700_000, 900_000)}
"""Within which seeds a domain's must lie, first and beyond. From 900,000 up they belong to outsiders' tests."""


@dataclass(frozen=True)
class PhysicalSpikes:
    """The spike camera as a physical model, `SpikeSensor`. planes: that end at the moment of a sample."""

    planes: int = 256

    def __post_init__(self) -> None:
        if self.planes < 1:
            raise ValueError(f"planes must be at least 1, found {self.planes}")


_MODELS = {"mediate": MediateSpikes, "physical": PhysicalSpikes}


@dataclass(frozen=True)
class Look:
    """A condition and a weather, and the share of a domain's sequences that have them."""

    condition: str
    weather: str
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.condition not in CONDITIONS:
            raise ValueError(f"condition must be one of {CONDITIONS}, found {self.condition!r}")
        if self.weather not in WEATHERS:
            raise ValueError(f"weather must be one of {WEATHERS}, found {self.weather!r}")
        if not self.share > 0.0:
            raise ValueError(f"share must be positive, found {self.share}")


@dataclass(frozen=True)
class Domain:
    """A domain; `Domain.load("source")` reads one.

    Attributes:
        name: of it.
        town: see `towns`.
        looks: conditions and weathers.
        spikes: which spikes.
        rig: the sensors there are.
        sensors: which of them samples have.
        frames: of a sequence.
        rate_hz: frames a second.
        seeds: by split, scene seeds: first and beyond. One a sequence.
    """

    name: str
    town: str
    looks: tuple[Look, ...]
    spikes: MediateSpikes | PhysicalSpikes
    rig: SensorRig
    sensors: tuple[str, ...]
    frames: int
    rate_hz: float
    seeds: Mapping[str, tuple[int, int]]

    def __post_init__(self) -> None:
        if self.town not in TOWNS:
            raise ValueError(f"town must be one of {tuple(TOWNS)}, found {self.town!r}")
        if not self.looks:
            raise ValueError("there must be at least one look")
        missing = [image for image in self.sensors if image not in IMAGES or image not in self.rig.cameras]
        if missing or not self.sensors:
            raise ValueError(f"sensors must be some of the rig's, {sorted(self.rig.cameras)}; found {self.sensors}")
        if self.frames < 1 or not self.rate_hz > 0.0:
            raise ValueError(f"frames and rate_hz must be positive, found {self.frames} and {self.rate_hz}")
        if set(self.seeds) != set(SPLITS):
            raise ValueError(f"seeds must be given for {tuple(SPLITS)}, found {tuple(self.seeds)}")
        for split, (first, beyond) in self.seeds.items():
            low, high = SPLITS[split]
            if not low <= first < beyond <= high:
                raise ValueError(f"seeds of {split} must lie within {low} to {high}, found {first} to {beyond}")
        if isinstance(self.spikes, MediateSpikes):
            for image in self.sensors:
                frames = image.replace("spikes", "rgb")
                if modality(image) == "spikes" and not (
                    frames in self.rig.cameras
                    and self.rig.cameras[frames] == self.rig.cameras[image]
                    and np.array_equal(self.rig.reference_from(frames), self.rig.reference_from(image))
                ):
                    raise ValueError(f"mediate {image} have the pixels of {frames}: the rig must place both alike")

    @classmethod
    def load(cls, domain: str | Path, size: tuple[int, int] | None = None, **changes: Any) -> Domain:
        """Read a domain.

        Args:
            domain: name of one in `config/domains/`, or the path of a YAML file.
            size: (height, width) of the reference's pictures; the other sensors' scale with them.
            changes: attributes to replace: `frames`, `sensors`...; a rig's pictures are scaled as well.

        Raises:
            ValueError: naming the file and what is wrong in it.
        """
        path = Path(domain)
        if path.suffix not in (".yaml", ".yml"):
            known = sorted(file.stem for file in config_path("domains").glob("*.yaml"))
            if str(domain) not in known:
                raise ValueError(f"domain must be one of {known} or the path of a YAML file, found {str(domain)!r}")
            path = config_path(f"domains/{domain}.yaml")
        try:
            found = replace(cls._from_dict(parse_yaml(path.read_text())), **changes)
            return found if size is None else replace(found, rig=_scaled(found.rig, size))
        except (KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{path} is not a valid domain: {error}") from error

    @classmethod
    def _from_dict(cls, data: Any) -> Domain:
        names = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or set(data) != names:
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"expected {sorted(names)}, found {found}")
        spikes = dict(data["spikes"])
        model = spikes.pop("model", None)
        if model not in _MODELS:
            raise ValueError(f"spikes must have a model, one of {tuple(_MODELS)}, found {model!r}")
        seeds = data["seeds"]
        if not isinstance(seeds, dict) or not all(isinstance(e, list) and len(e) == 2 for e in seeds.values()):
            raise ValueError(f"seeds are first and beyond by split, found {seeds!r}")
        return cls(
            **{
                **data,
                "looks": tuple(Look(**look) for look in data["looks"]),
                "spikes": _MODELS[model](**spikes),
                "rig": SensorRig.load(config_path(data["rig"])),
                "sensors": tuple(data["sensors"]),
                "seeds": {split: tuple(ends) for split, ends in seeds.items()},
            }
        )

    def sequences(self, split: str) -> int:
        """How many sequences a split has."""
        first, beyond = self._ends(split)
        return beyond - first

    def seed(self, split: str, index: int) -> int:
        """Scene seed of a sequence; it is also the `sequence` in its samples' `meta`."""
        first, beyond = self._ends(split)
        if not 0 <= index < beyond - first:
            raise ValueError(f"{self.name} has sequences 0 to {beyond - first - 1} for {split}, asked for {index}")
        return first + index

    def look(self, split: str, index: int) -> Look:
        """Condition and weather of a sequence."""
        shares = np.array([look.share for look in self.looks])
        random = np.random.default_rng([self.seed(split, index), 21])
        return self.looks[int(random.choice(len(shares), p=shares / shares.sum()))]

    def world(self, split: str, index: int) -> World:
        """The street of a sequence, and the vehicle in it."""
        look = self.look(split, index)
        return World(self.seed(split, index), look.condition, self.rig, weather=look.weather, town=self.town)

    def sample(self, split: str, index: int) -> DepthSample:
        """Sample number `index` of a split: the same as in its sequence, to the bit."""
        number, frame = divmod(index, self.frames)
        return next(self._frames(split, number, range(frame, frame + 1)))

    def sequence(self, split: str, index: int, frames: int | None = None) -> Iterator[DepthSample]:
        """The samples of a sequence, one after another; `frames` of them if not as many as the domain's have."""
        return self._frames(split, index, range(self.frames if frames is None else frames))

    def _ends(self, split: str) -> tuple[int, int]:
        if split not in self.seeds:
            raise ValueError(f"split must be one of {tuple(self.seeds)}, found {split!r}")
        return self.seeds[split]

    def _frames(self, split: str, index: int, frames: range) -> Iterator[DepthSample]:
        world = self.world(split, index)
        seed = world.scene.seed
        start_s = float(np.random.default_rng([seed, 22]).uniform(1.0, 30.0))

        def at(frame: int) -> float:
            return start_s + frame / self.rate_hz

        before: dict[str, Frame] = {}
        for frame in frames:
            time_s = at(frame)
            about = {**world.about(time_s, seed, frame), "domain": self.name, "split": split}
            if isinstance(self.spikes, PhysicalSpikes):
                sample = world.sample(time_s, self.spikes.planes, self.sensors)
                yield replace(sample, meta=about)
                continue
            if not before:
                before = self._moment(world, at(frame - 1), frames_only=True)[1]
            passes, after = self._moment(world, time_s)
            yield self._mediate_sample(world, time_s, passes, before, after, about)
            before = after

    def _moment(
        self, world: World, time_s: float, frames_only: bool = False
    ) -> tuple[dict[str, RenderPass], dict[str, Frame]]:
        """Passes of the sensors at a time, and the colour frames, by name, that spikes are simulated from."""
        needed = [image.replace("spikes", "rgb") for image in self.sensors if modality(image) == "spikes"]
        sensors = dict.fromkeys(needed if frames_only else (*self.sensors, *needed))
        if "rgb_right" in sensors:
            sensors = dict.fromkeys(("rgb", *sensors))  # the left camera measures the exposure of both
        time_ns = round(time_s * 1e9)
        passes = world.render(time_s, list(sensors))
        noise = noise_seed(world.scene.seed, time_ns)
        return passes, {
            image: Frame(world.observe(image, passes, 0, time_ns, noise), passes[image]) for image in needed
        }

    def _mediate_sample(
        self,
        world: World,
        time_s: float,
        passes: dict[str, RenderPass],
        before: dict[str, Frame],
        after: dict[str, Frame],
        about: dict[str, Any],
    ) -> DepthSample:
        assert isinstance(self.spikes, MediateSpikes)
        time_ns = round(time_s * 1e9)
        noise = noise_seed(world.scene.seed, time_ns)
        images: dict[str, Any] = {}
        for image in self.sensors:
            if modality(image) == "spikes":
                frames = image.replace("spikes", "rgb")
                pixels = int(np.random.SeedSequence([noise, IMAGES.index(image), 2]).generate_state(1)[0])
                images[image] = self.spikes.simulate(before[frames], after[frames], 1.0 / self.rate_hz, time_ns, pixels)
            elif image in after:
                images[image] = after[image].image
            else:
                images[image] = world.observe(image, passes, 0, time_ns, noise)
        about = {key: value for key, value in about.items() if key != "spike_gain"}
        return DepthSample(
            rig=world.rig,
            time_ns=time_ns,
            **images,
            depth={image: passes[image].depth for image in self.sensors},
            meta={**about, "spikes": "mediate"},
            world_from_reference=world.world_from_reference(time_s),
        )


def _scaled(rig: SensorRig, size: tuple[int, int]) -> SensorRig:
    """The rig with every picture scaled as the reference's is to come to a size (height, width)."""
    reference = rig.cameras[rig.reference]
    tall, wide = size[0] / reference.height, size[1] / reference.width
    cameras = {
        name: camera.resized(max(1, round(camera.width * wide)), max(1, round(camera.height * tall)))
        for name, camera in rig.cameras.items()
    }
    return replace(rig, cameras=cameras)
