"""What every reader of a public data set is: a sequence of samples on disk that knows which frames follow another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from spike_depth_core.samples.sample import DepthSample


class Frame(NamedTuple):
    """One moment: its recording, and its number there. Numbers of one recording count its moments in time."""

    sequence: str
    number: int


@dataclass(frozen=True)
class Dataset(ABC):
    """The frames of one split, read when asked for; nothing is kept.

    Attributes:
        root: the folder that the data set was unpacked to.
        split: one of `splits`.

    Raises:
        ValueError: from the constructor, naming the folder or the split at fault.
    """

    root: Path
    split: str

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    crop: ClassVar[str] = "none"
    """Which part of the picture publications score on it: `none` or `garg`, see `metrics`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        if not self.root.is_dir():
            raise ValueError(f"{self.root} is not a folder")
        self.check_split()
        if not self.frames:
            raise ValueError(f"{self.root}: there are no frames of split {self.split!r} of {self.name}")

    def check_split(self) -> None:
        """Raises ValueError for a split that there is not."""
        if self.split not in self.splits:
            raise ValueError(f"{self.name} has the splits {', '.join(self.splits)}; found {self.split!r}")

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frames of the split, in order."""
        return tuple(self.list_frames())

    @abstractmethod
    def list_frames(self) -> Iterable[Frame]:
        """Find the frames of the split. Called once."""

    @abstractmethod
    def read(self, frame: Frame) -> DepthSample:
        """Read one frame, of this split or a neighbour of one.

        Raises:
            ValueError, OSError: naming the file that is missing or not what it should be.
        """

    @abstractmethod
    def numbers(self, sequence: str) -> Sequence[int]:
        """Numbers of all frames that a recording has, in order, of whichever split."""

    def neighbour(self, frame: Frame, offset: int) -> Frame | None:
        """The frame of the same recording that many moments later (earlier if negative), or None at its ends.

        It need not be in the split: the frames of a test split are often far apart.
        """
        numbers = self.numbers(frame.sequence)
        try:
            place = numbers.index(frame.number) + offset
        except ValueError:
            raise ValueError(f"{frame.sequence} of {self.name} has no frame {frame.number}") from None
        return Frame(frame.sequence, numbers[place]) if 0 <= place < len(numbers) else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> DepthSample:
        return self.read(self.frames[index])

    def __iter__(self) -> Iterator[DepthSample]:
        return (self[index] for index in range(len(self)))


def present(names: Sequence[str], root: Path, partial: bool, what: str) -> list[str]:
    """The folders of `names` that are in `root`.

    Args:
        names: folders that a split consists of.
        root: where they should be.
        partial: go on with those there are, if there are any.
        what: the split, for the message.

    Raises:
        ValueError: some are missing and `partial` does not allow it, or all are.
    """
    found = [name for name in names if (root / name).is_dir()]
    missing = [name for name in names if name not in found]
    if missing and not (partial and found):
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        hint = "" if not found else "; `partial` takes those there are"
        raise ValueError(f"{root}: {what} takes {len(names)} folders, {len(missing)} are missing: {shown}{hint}")
    return found


def files_by_number(folder: Path, pattern: str, prefix: str = "") -> dict[int, Path]:
    """Files `<prefix><number><suffix>` that match a pattern, by their number, in order; empty without the folder."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        digits = path.stem.removeprefix(prefix)
        if digits.isdecimal():
            found[int(digits)] = path
    return found
