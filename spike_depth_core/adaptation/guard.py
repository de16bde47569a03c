"""What new weights have to show before they go into service."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from spike_depth_core.adaptation.lessons import Lesson
from spike_depth_core.networks.depth_network import DepthNetwork


@dataclass(frozen=True)
class GuardOptions:
    """Bounds on new weights.

    Attributes:
        live_bound: the largest rise of the error on held-out moments of the stream, relative to the weights in
            service. Below 0 a gain is demanded.
        original_bound: the largest rise of the error on examples of the original training, relative to the weights
            that the adaptation began with: rises do not add up from swap to swap.
        known_bound: the largest mean change of log-depth on the known-answer input. Adaptation corrects; whoever says
            something else altogether is broken.
        least_held_out: held-out moments without which nothing is swapped.
        fused_bound: as `original_bound`, with all sensors: by day it is they that depth is made with.
        drift_bound: the largest mean relative distance from the teacher's answer on the other held-out moments, with
            its sensors. That is what depth would have been there without adaptation, so there is no error to compare.
        measured_bound: the largest rise, relative to the first weights, of how much worse than by the best depth the
            frames before are explained (`Evidence.regret`), on held-out moments with the teacher's sensors.
    """

    live_bound: float = 0.0
    original_bound: float = 0.02
    known_bound: float = 0.7
    least_held_out: int = 4
    fused_bound: float = 0.02
    drift_bound: float = 0.15
    measured_bound: float = 0.02


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        reasons: why the weights are refused; empty when they may go into service.
        live: error of the candidate over that of the weights in service, on held-out moments.
        original: error of the candidate over that of the first weights, on original examples.
        fused: the same with all sensors; NaN where no example has its `whole`.
        measured: regret of the candidate over that of the first weights on held-out moments that parallax speaks of,
            with the teacher's sensors; NaN where there are none.
        drift: mean relative distance of the candidate from the teacher on the other ones, with the teacher's sensors;
            NaN likewise.
    """

    reasons: tuple[str, ...] = field(default=())
    live: float = math.nan
    original: float = math.nan
    fused: float = math.nan
    measured: float = math.nan
    drift: float = math.nan

    @property
    def accepted(self) -> bool:
        return not self.reasons


class Guard:
    """Compares candidates with what is in service and with what was there first.

    Args:
        first: the weights that the adaptation begins with.
        original: examples of the original training, with truth, and with all sensors where they have a `whole`; the
            first is the one of which the answer is known.
        options: see `GuardOptions`.
    """

    def __init__(
        self,
        first: DepthNetwork,
        original: Sequence[Lesson],
        options: GuardOptions | None = None,
    ):
        if not original:
            raise ValueError("the guard needs at least one example of the original training")
        self.options = options or GuardOptions()
        self.original, self.known = list(original), original[0]
        self._fused = wholes(self.original)
        self._first = first
        self._first_error = mean_error(first, self.original)
        self._first_fused = mean_error(first, self._fused)
        self._known_answer = answer(first, self.known)

    def judge(self, candidate: DepthNetwork, service: DepthNetwork, held_out: Sequence[Lesson]) -> Verdict:
        """Whether the candidate may take the place of what is in service."""
        broken = [name for name, value in candidate.state_dict().items() if not torch.isfinite(value).all()]
        if broken:
            return Verdict((f"weights are not finite, first in {broken[0]}",))
        options = self.options
        reasons = []
        change = float((answer(candidate, self.known) - self._known_answer).abs().mean())
        if not change <= options.known_bound:
            reasons.append(f"the known answer moved by {change:.2f} in log-depth, {options.known_bound:g} are allowed")
        if len(held_out) < options.least_held_out:
            return Verdict((*reasons, f"{len(held_out)} held-out moments, {options.least_held_out} are needed"))
        live = ratio(mean_error(candidate, held_out), mean_error(service, held_out))
        if not live <= 1 + options.live_bound:
            reasons.append(f"error on held-out moments x {live:.3f}, {1 + options.live_bound:g} is allowed")
        original = ratio(mean_error(candidate, self.original), self._first_error)
        if not original <= 1 + options.original_bound:
            reasons.append(f"error on original examples x {original:.3f}, {1 + options.original_bound:g} is allowed")
        fused = measured = drift = math.nan
        if self._fused:
            fused = ratio(mean_error(candidate, self._fused), self._first_fused)
            if not fused <= 1 + options.fused_bound:
                allowed = f"{1 + options.fused_bound:g} is allowed"
                reasons.append(f"error on original examples with all sensors x {fused:.3f}, {allowed}")
        if known := [whole for whole in wholes(held_out) if whole.evidence is not None]:
            measured = ratio(mean_regret(candidate, known), mean_regret(self._first, known))
            if not measured <= 1 + options.measured_bound:
                allowed = f"{1 + options.measured_bound:g} is allowed"
                reasons.append(f"with the teacher's sensors parallax disagrees x {measured:.3f}, {allowed}")
        if as_the_teacher := [whole for whole in wholes(held_out) if whole.evidence is None]:
            drift = mean_error(candidate, as_the_teacher)
            if not drift <= options.drift_bound:
                allowed = f"{options.drift_bound:g} is allowed"
                reasons.append(f"on held-out moments with the teacher's sensors {drift:.3f} from its answer, {allowed}")
        return Verdict(tuple(reasons), live, original, fused, measured, drift)


@torch.no_grad()
def answer(network: DepthNetwork, lesson: Lesson) -> torch.Tensor:
    """Log-depth [1, H, W] of a lesson."""
    return network.eval()(lesson.inputs).log_depth


def wholes(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The `whole` of each lesson that has one."""
    return [lesson.whole for lesson in lessons if lesson.whole is not None]


def mean_error(network: DepthNetwork, lessons: Sequence[Lesson]) -> float:
    """Mean over lessons of |d - d*| / d* where the lesson knows d*; NaN without any."""
    errors = []
    for lesson in lessons:
        found = answer(network, lesson)
        relative = (found.exp() / lesson.depth - 1).abs()
        errors.append(float(relative[lesson.mask].mean()))
    return sum(errors) / len(errors) if errors else math.nan


def mean_regret(network: DepthNetwork, lessons: Sequence[Lesson]) -> float:
    """Mean over lessons with evidence of how much worse than by the best depth other moments are explained."""
    found = []
    for lesson in lessons:
        assert lesson.evidence is not None
        found.append(float(lesson.evidence.regret(answer(network, lesson))[lesson.evidence.said].mean()))
    return sum(found) / len(found)


def ratio(new: float, old: float) -> float:
    """new / old; without an error to begin with, any new one is infinitely worse."""
    if old > 0:
        return new / old
    return 1.0 if new == 0 else float("inf")
