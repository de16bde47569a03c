"""What an extracted data set is: what was asked for, of which bags, and how they are divided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spike_depth_core.samples import SENSORS
from spike_depth_core.spikes.windows import NETWORK_WINDOW
from spike_depth_core.training.filters import Limits
from spike_depth_core.training.splits import DRIVE, Unit

MANIFEST = "manifest.json"
UNITS = "units"
_VERSION = 1


@dataclass(frozen=True)
class ExtractionOptions:
    """What is taken from the bags.

    Attributes:
        planes: spike planes of a sample.
        rate_hz: the most samples in a second of a bag; 0 for each moment.
        sensors: that each sample must have; all that a bag has when None.
        topics: by sensor, where names do not tell.
        truth: topic of the true depth; of a simulated drive its own when None.
        odometry: topic of the poses; the only one there is when None.
        truth_tolerance_s: the most that a truth may be from its moment.
        rig: file of a rig; the bag's own, or the default one, when None.
        limits: which moments are kept.
        split, shares, block_s, gap_s, assigned, seed: see `splits.divide`.
        most_apart_s: moments further apart are not of one sequence, so that no recipe takes them for neighbours. By
            the rate when None: three of its steps.
        shard_mb: size at which a new shard is begun.
    """

    planes: int = NETWORK_WINDOW
    rate_hz: float = 10.0
    sensors: tuple[str, ...] | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    truth: str | None = None
    odometry: str | None = None
    truth_tolerance_s: float = 0.02
    rig: str | None = None
    limits: Limits = field(default_factory=Limits)
    split: str = DRIVE
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    block_s: float = 20.0
    gap_s: float = 2.0
    assigned: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    most_apart_s: float | None = None
    shard_mb: float = 512.0

    def __post_init__(self) -> None:
        if self.planes < 1:
            raise ValueError(f"a sample has at least one plane, found {self.planes}")
        unknown = set(self.sensors or ()) - set(SENSORS)
        if unknown:
            raise ValueError(f"a sensor is one of {', '.join(SENSORS)}, found {', '.join(sorted(unknown))}")

    @property
    def sequence_step_ns(self) -> int:
        """The most from one moment of a sequence to the next."""
        step_s = self.most_apart_s
        if step_s is None:
            step_s = 3 / self.rate_hz if self.rate_hz else 0.3
        return round(1e9 * step_s)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExtractionOptions:
        """Of what `to_dict` gave."""
        sensors = values["sensors"]
        return cls(
            **{
                **values,
                "limits": Limits(**values["limits"]),
                "shares": tuple(values["shares"]),
                "sensors": None if sensors is None else tuple(sensors),
            }
        )


@dataclass(frozen=True)
class Recording:
    """A bag, as far as its parts have to know of it.

    Attributes:
        path: of the bag.
        name: of the bag in the data set: no two alike.
        fingerprint: tells whether it is still the same bag, see `fingerprint`.
        start_ns, end_ns: of its messages; `end_ns` is None where that is not known.
        images, cameras: topics by sensor.
        truth, odometry: topics, or None.
        rig: where the sensors are, see `SensorRig.to_dict`.
        intrinsics: by sensor, the first that it tells.
        about: what a simulated drive is of.
    """

    path: str
    name: str
    fingerprint: str
    start_ns: int
    end_ns: int | None
    images: Mapping[str, str]
    cameras: Mapping[str, str]
    truth: str | None
    odometry: str | None
    rig: Mapping[str, Any]
    intrinsics: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Extraction:
    """What is to be done: the content of a manifest."""

    options: ExtractionOptions
    recordings: tuple[Recording, ...]
    units: tuple[Unit, ...]

    def jobs(self, folder: str | Path) -> list[UnitJob]:
        """All parts, those that are done too, of the data set in a folder."""
        where = str(Path(folder).absolute())
        return [UnitJob(where, unit, self.recordings[unit.recording], self.options) for unit in self.units]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "spike_depth_extraction": _VERSION,
            "options": self.options.to_dict(),
            "recordings": [asdict(recording) for recording in self.recordings],
            "units": [asdict(unit) for unit in self.units],
        }

    @classmethod
    def load(cls, folder: str | Path) -> Extraction:
        """Of a data set's manifest. Raises ValueError where there is none, or it cannot be understood."""
        path = Path(folder) / MANIFEST
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise ValueError(f"{folder} is not an extracted data set: it has no {MANIFEST}") from None
        except ValueError as error:
            raise ValueError(f"{path} cannot be understood: {error}") from error
        version = values.get("spike_depth_extraction") if isinstance(values, dict) else None
        if version != _VERSION:
            raise ValueError(f"{path}: expected an extraction of version {_VERSION}, found {version}")
        try:
            return cls(
                ExtractionOptions.from_dict(values["options"]),
                tuple(Recording(**recording) for recording in values["recordings"]),
                tuple(Unit(**unit) for unit in values["units"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be understood: {error!r}") from error


@dataclass(frozen=True)
class UnitJob:
    """One part of an extraction: all that `extract_unit` has to know, so that no part reads the manifest of all.

    Attributes:
        folder: of the data set.
        unit: the part.
        recording: that it is a part of.
        options: what is taken from it.
    """

    folder: str
    unit: Unit
    recording: Recording
    options: ExtractionOptions
