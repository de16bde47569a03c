"""What each published method does best, in one network for any subset of sensors.

A step encodes every sensor once and decodes several subsets of them: all that are there, one alone, and some. Truth
teaches each where there is truth. On top of it the fullest subset, which sees best, teaches the poorer ones, of the
same moment and in the same step:

- at pixels where it is surer than they are, and more where they disagree: the uncertainty gate of BiCross's
  coarse-to-fine distillation (Liu et al., ICRA 2024) and the focal factor of our reading of ADU-Depth (Wu et al.,
  CoRL 2023);
- in feature space at the coarsest levels, as R2SDepth's branch that carries RGB teaches the one of spikes;
- with the shared halves of all sensors' features drawn together against the halves of their own, the global term of
  align-and-fuse (Shin et al., ICRA 2025);
- on unlabelled frames of another domain, by what an averaged teacher is surest of: BiCross's self-correcting pseudo
  labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.losses.contrastive import info_nce
from spike_depth_core.losses.depth import masked_mean
from spike_depth_core.losses.distillation import least, mostly
from spike_depth_core.networks.depth_network import DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import in_sight
from spike_depth_core.recipes.recipe import Request, Step
from spike_depth_core.recipes.supervised import PREFERRED, TaughtByDepth, drawn
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.samples.batch import SampleBatch


@dataclass
class Unified(TaughtByDepth):
    """One stage: supervised by truth, and by the fullest set of sensors.

    Attributes:
        teaching: where the teacher comes from: `online` is the network's own answer to all sensors, `ema` that of its
            average, `frozen` that of the network it started from.
        response_weight: of the distillation of depth; 0 switches it off.
        gamma: of the focal factor (1 - exp(-e))^gamma, e the difference of log-depths; 0 weighs all pixels alike.
        gate: whether only pixels count at which the teacher is surer than the student.
        feature_weight: of the distillation of coarse features.
        align_weight, temperature: of the contrast between shared and specific halves.
        prefer: how often each sensor is the reference, before normalising over those there are.
        missing: how often each sensor beside the reference is left out of the fullest set.
        unlabelled: whether a batch of the `target` domain, without labels, is part of each step.
        screen: share of that batch's pixels in sight, by the teacher's uncertainty, that become labels.
        unlabelled_weight: of that part.
    """

    teaching: Teaching = field(default_factory=lambda: Teaching("online"))
    response_weight: float = 0.5
    gamma: float = 0.5
    gate: bool = True
    feature_weight: float = 0.05
    align_weight: float = 0.01
    temperature: float = 0.1
    prefer: dict[str, float] = field(default_factory=lambda: dict(PREFERRED))
    missing: float = 0.25
    unlabelled: bool = False
    screen: float = 0.5
    unlabelled_weight: float = 0.5
    name: ClassVar[str] = "unified"

    @property
    def domains(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("source", "target") if self.unlabelled else ("source",)

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        modules = super().modules(start)
        if not self.teaching.learns:
            modules["teacher"] = self.teaching.teacher(modules["student"], start is not None)
        return modules

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        requests = []
        for domain in self.domains:
            known = tuple(s for s in self.architecture.sensors if s in available[domain])
            rng = np.random.default_rng([self.seed, step, 3])
            reference = drawn(known, self.prefer, rng)
            kept = tuple(s for s in known if s == reference or rng.random() >= self.missing)
            requests.append(Request(reference, kept, (reference,) if domain == "source" else (), domain))
        return requests

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts: dict[str, Tensor] = {}
        total = self._part(modules, batches[0], requests[0], step, parts)
        if self.unlabelled:
            others: dict[str, Tensor] = {}
            self._part(modules, batches[1], requests[1], step, others)
            parts |= {f"target_{name}": value for name, value in others.items()}
            total = total + self.unlabelled_weight * others["response"] + self.align_weight * others["align"]
        return total, parts

    def after_step(self, modules: nn.ModuleDict, step: Step) -> None:
        if "teacher" in modules:
            self.teaching.follow(modules["teacher"], modules["student"])

    def _part(
        self, modules: nn.ModuleDict, batch: SampleBatch, request: Request, step: Step, parts: dict[str, Tensor]
    ) -> Tensor:
        """The loss of one batch: the labelled one, or the one without labels (whose total is not used)."""
        inputs, clean, truth = self.view(batch, request, step.generator)
        labelled = bool(request.depth)
        student: DepthNetwork = modules["student"]  # type: ignore[assignment]
        features = student.encode(inputs)
        subsets = self.subsets(tuple(features), request.reference, step)
        answers = [
            student.decode({s: features[s] for s in subset}, inputs.camera, inputs.height, inputs) for subset in subsets
        ]
        with torch.no_grad():
            # A teacher of its own sees the picture as it is; the network itself cannot be asked twice at this price.
            teacher = modules["teacher"](clean) if "teacher" in modules else answers[0]
        total = truth.new_zeros(())
        for answer in answers if labelled else ():
            loss, own = self.depth_loss(answer.log_depth, answer.log_scale, truth)
            total = total + loss / len(answers)
            for name, value in own.items():
                parts[name] = parts.get(name, 0.0) + value.detach() / len(answers)
        taught = answers if "teacher" in modules else answers[1:]
        response, feature = truth.new_zeros(()), truth.new_zeros(())
        seen = in_sight(inputs)
        there = seen & ~(truth > self.depth_range[1])  # sky has no depth to take over
        for answer in taught:
            response = response + self.response(answer, teacher, there, labelled) / len(taught)
            feature = feature + self.feature(answer, teacher, seen) / len(taught)
            if self.teaching.mode == "mutual":
                response = response + self.response(answers[0], answer, there, labelled) / len(taught)
        parts["response"], parts["feature"] = response, feature
        parts["align"] = self.align([levels[-1] for levels in features.values()])
        return (
            total
            + self.response_weight * parts["response"]
            + self.feature_weight * parts["feature"]
            + self.align_weight * parts["align"]
        )

    def subsets(self, present: tuple[str, ...], reference: str, step: Step) -> list[tuple[str, ...]]:
        """The sets that are decoded, the fullest first: all, the reference alone, and a random one between.

        The reference is in each: depth is told in its frame, and asked of a sensor alone in its own.
        """
        if len(present) == 1:
            return [present]
        rng = np.random.default_rng([self.seed, step.number, 4])
        between = tuple(s for s in present if s == reference or rng.random() < 0.5)
        chosen = [present, (reference,)]
        if 1 < len(between) < len(present):
            chosen.append(between)
        return chosen

    def response(self, student: Prediction, teacher: Prediction, there: Tensor, labelled: bool) -> Tensor:
        """Distillation of depth: |log d - log d_T|, weighted by the focal factor, where the teacher may be trusted.

        With labels it may be where it is surer than the student; without, where it is among its own surest of the
        batch; and where there is (bool [B, H, W]) something in sight whose depth it says to be within range.
        """
        near, far = self.depth_range
        label = teacher.log_depth.detach()
        error = (student.log_depth - label).abs()
        mask = there & (label >= math.log(near)) & (label <= math.log(far))
        if not labelled:
            mask = least(teacher.log_scale, mask, self.screen)
        elif self.gate:
            mask = mask & (teacher.log_scale.detach() < student.log_scale.detach())
        focal = (1 - torch.exp(-error.detach())) ** self.gamma
        return masked_mean(focal * error, mask)

    @staticmethod
    def feature(student: Prediction, teacher: Prediction, seen: Tensor) -> Tensor:
        """Distillation of the coarsest two levels: one less the cosine between features at each place in sight."""
        terms = []
        for own, other in zip(student.features[-2:], teacher.features[-2:], strict=True):
            distance = 1 - F.cosine_similarity(own, other.detach(), dim=1)
            terms.append(masked_mean(distance, mostly(seen, (own.shape[-2], own.shape[-1]))))
        return torch.stack(terms).mean()

    def align(self, coarsest: Sequence[Tensor]) -> Tensor:
        """The global contrast of align-and-fuse: of each sensor's coarsest features [B, C, h, w], averaged over space,
        the first half (shared) is drawn to that of the next sensor, against the second halves (specific) of all."""
        if len(coarsest) < 2 or self.align_weight == 0:
            return coarsest[0].new_zeros(())
        pooled = torch.stack([x.mean(dim=(2, 3)) for x in coarsest])
        shared, specific = pooled.chunk(2, dim=2)
        return info_nce(
            shared.flatten(0, 1), shared.roll(-1, 0).flatten(0, 1), specific.flatten(0, 1), self.temperature
        )
