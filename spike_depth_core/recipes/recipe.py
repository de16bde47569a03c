"""What a recipe is: networks, losses and stages. It holds no loop and reads no data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.samples.batch import SampleBatch


@dataclass(frozen=True)
class Request:
    """A batch that a step asks for, drawn before the data is read, so that nothing else is read.

    Attributes:
        reference: the sensor in whose frame depth is predicted.
        sensors: whose images are read; right-hand ones by their own names (`rgb_right`).
        depth: for which sensors true depth is read; none for learning without labels.
        domain: which data, by name; a recipe says in `Recipe.domains` which it needs.
        neighbours: frames of the same sequence that are read as well, as offsets from the one drawn: -1, 1.
        moved: metres that the rig must have moved to each neighbour; asked of samples whose poses are known.
    """

    reference: str
    sensors: tuple[str, ...]
    depth: tuple[str, ...] = ()
    domain: str = "source"
    neighbours: tuple[int, ...] = ()
    moved: float = 0.0


@dataclass(frozen=True)
class Step:
    """Where a training is.

    Attributes:
        number: of this optimiser step, from 0.
        total: how many there are.
        generator: for everything random in the step, on the training device.
    """

    number: int
    total: int
    generator: torch.Generator

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to below 1."""
        return self.number / self.total


class Recipe(ABC):
    """One stage of what a paper describes; `training.loop` does the rest.

    Attributes:
        name: of the recipe and stage, for logs and checkpoints.
        domains: the data it needs, by name.
        calibrated: whether the student's uncertainty is learned too.
        architecture: of the student.
        depth_range: metres of truth that count.
        seed: of what it draws.
    """

    name: ClassVar[str]
    domains: ClassVar[tuple[str, ...]] = ("source",)
    calibrated: ClassVar[bool] = True
    architecture: Architecture
    depth_range: tuple[float, float]
    seed: int

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        """All that is trained or taught from, by name; `student` is what is evaluated and kept.

        What has no parameter that requires a gradient is held in evaluation mode: frozen teachers, moving averages.

        Args:
            start: the student to start from, or None for a new one, its weights drawn from torch's global generator.
        """
        return nn.ModuleDict({"student": DepthNetwork(self.architecture) if start is None else start})

    def begin(self, first: DepthNetwork) -> None:  # noqa: B027 - most recipes need none
        """Called before `modules` with what the whole training starts from, where that is not random weights: for a
        recipe whose student does not go on from what the stage before has kept."""

    @abstractmethod
    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        """The batches of step number `step`, a function of nothing but it, `seed`, and the arguments.

        Args:
            step: number of the step.
            available: by domain, the images of the samples that the step will draw from, right-hand ones too.
        """

    @abstractmethod
    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss of the batches, one for each of the step's requests, and its parts by name for the log."""

    def after_step(self, modules: nn.ModuleDict, step: Step) -> None:  # noqa: B027 - most recipes need none
        """Called after the optimiser has moved the weights: where teachers follow their students."""


@dataclass(frozen=True)
class Stage:
    """A recipe's part in a training of several: each stage starts from the student of the one before.

    Attributes:
        recipe: what is done.
        share: of the training's steps; those of a recipe's stages come to one.
        keep: which weights go on: the `best` by validation, or the `last`, where validating would take labels that
            the stage must do without.
        learning_rate: as a share of the training's. A stage that goes on from learned weights wants less than the
            one that began with random ones, or it first spoils what it is given.
    """

    recipe: Recipe
    share: float = 1.0
    keep: str = "best"
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.keep not in ("best", "last"):
            raise ValueError(f"keep is 'best' or 'last', found {self.keep!r}")
        if not self.share > 0:
            raise ValueError(f"a stage's share of the steps is more than 0, found {self.share}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"a stage's share of the learning rate is in (0, 1], found {self.learning_rate}")


def description(recipe: Recipe) -> dict[str, Any]:
    """A recipe's class and all its settings."""
    return {"class": f"{type(recipe).__module__}.{type(recipe).__qualname__}", **asdict(recipe)}  # type: ignore[call-overload]
