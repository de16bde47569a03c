"""ADU-Depth: a teacher that sees with two eyes, a student that learns from it to see with one.

Source: Wu, Li, Fan, Wu, Wang, Tang, Pu, "ADU-Depth: attention-based distillation with uncertainty modeling for depth
estimation" (CoRL 2023, arXiv 2309.14744). Only its abstract is public here: it names the parts, this file reads them.

1. `StereoTeacher` learns depth from rectified pairs and truth.
2. `AduDepth` learns depth from the left picture alone: from truth, and from the teacher, by
   - focal-depth-adapted response distillation: the teacher's depth, more where the two disagree;
   - attention-adapted feature distillation: the teacher's features, seen through an adapter that is dropped after it;
   - the uncertainty that both networks model as the scale of a Laplace distribution of their error: pixels of which
     the student is unsure count more, and a teacher that is less sure than the student counts less. In either space.

L = L_depth(D_S, D*) + ramp (response L_resp + features mean_l L_feat^l); the terms are in `losses.guided_distillation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.losses.distillation import mostly
from spike_depth_core.losses.guided_distillation import (
    FOCAL,
    balanced,
    credibility,
    emphasis,
    feature_distance,
    focal_factor,
    response_distance,
    trust,
)
from spike_depth_core.networks.attention import ADAPTERS, make_adapter
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.networks.stereo import StereoNetwork, share_weights
from spike_depth_core.recipes.recipe import Request, Stage, Step
from spike_depth_core.recipes.supervised import Supervised
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.samples import RIGHT, SENSORS
from spike_depth_core.samples.batch import SampleBatch


@dataclass
class _Pairs(Supervised):
    """Reads each sensor with its right-hand camera, and depth in the left one's frame."""

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        images = available["source"]
        pairs = tuple(s for s in self.architecture.sensors if s in images and RIGHT[s] in images)
        if not pairs:
            raise ValueError(
                f"{self.name} learns from pairs of {self.architecture.sensors} with right-hand images; found {images}"
            )
        reference, sensors = self.sensors(step, pairs)
        return (Request(reference, (*sensors, *(RIGHT[s] for s in sensors)), (reference,)),)


@dataclass
class StereoTeacher(_Pairs):
    """The teacher's own stage: supervised, from pairs. What it keeps is a `StereoNetwork`."""

    name: ClassVar[str] = "adu_depth_teacher"

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        teacher = StereoNetwork(replace(self.architecture, stereo=True))
        if start is not None:
            share_weights(teacher, start)
        return nn.ModuleDict({"student": teacher})


@dataclass
class AduDepth(_Pairs):
    """The student's stage. It starts from what the teacher's stage has kept; the student itself from what the training
    began with, or new.

    Attributes:
        teaching: `frozen` needs a teacher to start from; `online` and `mutual` can start without, and the teacher then
            learns beside its student. `ema` cannot be: the average of a student has no second eye.
        response: weight of the distillation of depth; 0 switches it off.
        focal: which pixels it is about, see `losses.guided_distillation.focal_factor`.
        focal_power: gamma.
        screen: whether a teacher counts less where the truth says that it is wrong.
        features: weight of the distillation of features; 0 switches it off.
        levels: which: 0 to 4 are the fused features at 1/2 to 1/32.
        adapter: between student and teacher, see `networks.attention.make_adapter`.
        guide_response, guide_features: lambda, how much more a pixel of which the student is unsure counts in either
            space; 0 leaves uncertainty out of it.
        trust: whether, where uncertainty guides, a teacher counts less where it is less sure than its student.
        ramp: share of the steps over which the distillation rises to its weight.
        inherit: whether the student starts from the teacher's weights, less the matching, and not from new ones.
    """

    teaching: Teaching = field(default_factory=Teaching)
    response: float = 1.0
    focal: str = "disagreement"
    focal_power: float = 2.0
    screen: bool = True
    features: float = 0.1
    levels: tuple[int, ...] = (2, 3, 4)
    adapter: str = "attention"
    guide_response: float = 1.0
    guide_features: float = 1.0
    trust: bool = True
    ramp: float = 0.1
    inherit: bool = False
    name: ClassVar[str] = "adu_depth"
    _first = None  # type: DepthNetwork | None  # not a setting: settings are what a stage is known by

    def __post_init__(self) -> None:
        if self.teaching.mode == "ema":
            raise ValueError(
                "teaching 'ema' averages the weights of a student; the stereo teacher is of another shape, so it is "
                "'frozen', 'online' or 'mutual'"
            )
        if self.focal not in FOCAL:
            raise ValueError(f"focal is one of {FOCAL}, found {self.focal!r}")
        if self.adapter not in ADAPTERS:
            raise ValueError(f"adapter is one of {ADAPTERS}, found {self.adapter!r}")
        if not self.levels or set(self.levels) - set(range(5)):
            raise ValueError(f"levels are some of 0 (1/2) to 4 (1/32), found {self.levels}")

    @property
    def distils(self) -> bool:
        """Whether there is a teacher at all."""
        return self.response > 0 or self.features > 0

    def begin(self, first: DepthNetwork) -> None:
        self._first = first

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        learned = start if isinstance(start, StereoNetwork) else None
        # The student comes first: whatever else is drawn, its weights are those of a student alone.
        modules = super().modules(None if learned is not None else start)
        if learned is not None and self._first is not None:
            share_weights(modules["student"], self._first)  # type: ignore[arg-type]
        if self.inherit:
            if learned is None:
                raise ValueError("inherit: there is no stereo teacher to start the student from")
            share_weights(modules["student"], learned)  # type: ignore[arg-type]
        if not self.distils:
            return modules
        if learned is None and not self.teaching.learns:
            raise ValueError(
                f"a frozen teacher has learned before: start {self.name} from the checkpoint of "
                f"{StereoTeacher.name}, or let the teacher learn beside the student (teaching 'online' or 'mutual')"
            )
        teacher = StereoNetwork(replace(self.architecture, stereo=True))
        if learned is not None:
            share_weights(teacher, learned)
        modules["teacher"] = teacher.requires_grad_(self.teaching.learns)
        if self.features > 0:
            widths = self.architecture.widths
            modules["adapters"] = nn.ModuleDict(
                {str(level): make_adapter(self.adapter, widths[level]) for level in self.levels}
            )
        return modules

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (request,) = requests
        inputs, clean, truth = self.view(batches[0], request, step.generator)
        left = with_one_eye(inputs)
        student: Prediction = modules["student"](left)
        total, parts = self.depth_loss(student.log_depth, student.log_scale, truth)
        if "teacher" not in modules:
            return total, parts
        with torch.set_grad_enabled(self.teaching.learns):
            # Who does not learn is asked for what it knows best: of the pictures as they are.
            teacher: Prediction = modules["teacher"](inputs if self.teaching.learns else clean)
        ramp = 1.0 if self.ramp == 0 else min(1.0, step.progress / self.ramp)
        if self.teaching.learns:
            own, teachers = self.depth_loss(teacher.log_depth, teacher.log_scale, truth)
            total = total + own
            parts |= {f"teacher_{name}": value for name, value in teachers.items()}
        seen = left.images[request.reference][:, -1] > 0.5
        if self.response > 0:
            pulls = self.teaching.pulls(
                self.response_loss(student, teacher, truth, seen), self.response_loss(teacher, student, truth, seen)
            )
            parts["response"] = pulls
            total = total + ramp * self.response * pulls
        if self.features > 0:
            adapters: nn.ModuleDict = modules["adapters"]  # type: ignore[assignment]
            parts["features"] = self.feature_loss(student, teacher, adapters, seen)
            total = total + ramp * self.features * parts["features"]
        return total, parts

    def response_loss(self, pupil: Prediction, guide: Prediction, truth: Tensor, seen: Tensor) -> Tensor:
        """L_resp = mean_p c(p) g(p) |ln D_S(p) - ln D_T(p)|, over pixels in sight that are not sky.

        g = phi(p) (1 + lambda u_S(p)) brought to mean one; c = trust times credibility.

        Args:
            pupil, guide: who learns, and from whom.
            truth: metres [B, H, W]; +inf sky, NaN unknown.
            seen: bool [B, H, W], the field of view.
        """
        near, far = self.depth_range
        log_guide = guide.log_depth.detach()
        within = (log_guide >= math.log(near)) & (log_guide <= math.log(far))
        mask = seen & within & ~(truth > far)
        hard = focal_factor(self.focal, pupil.log_depth, log_guide, self.focal_power, far)
        if self.guide_response > 0:
            hard = hard * emphasis(pupil.log_scale, self.guide_response)
        weights = balanced(hard, mask)
        if self.guide_response > 0 and self.trust:
            weights = weights * trust(pupil.log_scale, guide.log_scale)
        if self.screen:
            weights = weights * credibility(log_guide, truth)
        return response_distance(pupil.log_depth, log_guide, weights, mask)

    def feature_loss(self, student: Prediction, teacher: Prediction, adapters: nn.ModuleDict, seen: Tensor) -> Tensor:
        """L_feat = mean over levels l of mean_p c(p) g(p) ||A_l(F_S)(p) - F_T(p)||^2 / var F_T.

        p are positions in sight; g = 1 + lambda u_S brought to mean one and c = trust, both averaged over the pixels
        of a position.
        """
        terms = []
        for level in self.levels:
            adapted = adapters[str(level)](student.features[level]).float()
            where = mostly(seen, (adapted.shape[-2], adapted.shape[-1]))
            weights = torch.ones_like(adapted[:, 0])
            if self.guide_features > 0:
                weights = _at_size(emphasis(student.log_scale, self.guide_features), weights)
                weights = balanced(weights, where)
                if self.trust:
                    weights = weights * _at_size(trust(student.log_scale, teacher.log_scale), weights)
            terms.append(feature_distance(adapted, teacher.features[level].float(), weights, where))
        return torch.stack(terms).mean()


@dataclass
class ResponseFromTruth(AduDepth):
    """A control: the response loss towards the true depth. What its weighting of pixels does without a teacher."""

    features: float = 0.0
    guide_response: float = 0.0
    name: ClassVar[str] = "response_from_truth"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features > 0 or self.guide_response > 0:
            raise ValueError("truth has neither features nor an uncertainty: features and guide_response must be 0")

    @property
    def distils(self) -> bool:
        return False

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, _, truth = self.view(batches[0], requests[0], step.generator)
        student: Prediction = modules["student"](with_one_eye(inputs))
        total, parts = self.depth_loss(student.log_depth, student.log_scale, truth)
        known = torch.isfinite(truth)
        guide = replace(student, log_depth=torch.where(known, truth, torch.ones_like(truth)).log())
        parts["response"] = self.response_loss(student, guide, truth, known)
        return total + self.response * parts["response"], parts


def adu_depth_stages(
    architecture: Architecture, seed: int, teacher_share: float = 0.5, **settings: Any
) -> tuple[Stage, ...]:
    """Teacher, then student.

    Args:
        architecture: of the student.
        seed: of what is drawn.
        teacher_share: share of all steps that is the teacher's own; 0 for one that learns beside its student only.
        settings: fields of `AduDepth`; the teacher takes those that are its own as well.
    """
    student = AduDepth(architecture, seed=seed, **settings)
    if teacher_share == 0:
        return (Stage(student),)
    own = {f.name for f in fields(StereoTeacher)}
    teacher = StereoTeacher(architecture, seed=seed, **{k: v for k, v in settings.items() if k in own})
    # Validation looks through one eye, at sets of sensors that say nothing about the teacher: its last weights go on.
    return (Stage(teacher, teacher_share, "last"), Stage(student, 1 - teacher_share))


def with_one_eye(inputs: NetworkInput) -> NetworkInput:
    """The left pictures of a pair alone."""
    return replace(inputs, images={name: image for name, image in inputs.images.items() if name in SENSORS})


def _at_size(values: Tensor, like: Tensor) -> Tensor:
    """A map [B, H, W] averaged down to the size of another [B, h, w]."""
    return F.adaptive_avg_pool2d(values[:, None], (like.shape[-2], like.shape[-1]))[:, 0]
