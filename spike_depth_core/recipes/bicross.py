"""BiCross: depth from a spike camera without a label for it, across modality and then across domain.

Labelled are colour images of the source domain. Spikes simulated from them stand between ("mediate" spikes): their
labels are the images', their modality is that of the target domain, whose spikes are real and unlabelled.

1. `Pretrain`: the network learns from source RGB, supervised.
2. `CrossModality`: it teaches its features to a student that sees the mediate spikes and has their labels too (CFKD,
   coarse-to-fine knowledge distillation): global ones by contrast, those of pixels where the teacher is sure and the
   student is not.
3. `CrossDomain`: source spikes with labels, target spikes without (SCTS, self-correcting teacher-student): an averaged
   teacher's surest pixels are labels, and one discriminator sees to it that features do not tell their domain.

Source: Liu et al., "Unsupervised spike depth estimation via cross-modality cross-domain knowledge transfer" (ICRA
2024, arXiv 2208.12527), from its abstract and figures and the authors' released code; docs/methods/bicross.md says
what is whose and where this departs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.losses.contrastive import paired_info_nce
from spike_depth_core.losses.depth import silog
from spike_depth_core.losses.distillation import feature_mse, least
from spike_depth_core.networks.adversarial import DomainDiscriminator
from spike_depth_core.networks.blocks import hold_statistics
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.heads import PooledHead
from spike_depth_core.networks.preprocess import NetworkInput, in_sight
from spike_depth_core.networks.transfer import start_sensor_from
from spike_depth_core.recipes.recipe import Request, Stage, Step
from spike_depth_core.recipes.supervised import TaughtByDepth
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.samples.batch import SampleBatch

GATES = ("both", "teacher", "student", "relative", "none")
COARSEST = -1
"""Index in `Prediction.features` of the level at 1/32, whose mean stands for the picture."""


@dataclass
class _OneSensor(TaughtByDepth):
    """Supervised learning from one sensor of one domain."""

    sensor: ClassVar[str]

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        (domain,) = self.domains
        return (_request(available, domain, (self.sensor,), labelled=True),)


@dataclass
class Pretrain(_OneSensor):
    """Stage 1: source RGB."""

    name: ClassVar[str] = "pretrain"
    sensor: ClassVar[str] = "rgb"


@dataclass
class SourceOnly(_OneSensor):
    """The lower bound of the table: mediate spikes of the source, and nothing of colour or of the target."""

    name: ClassVar[str] = "source_only"
    sensor: ClassVar[str] = "spikes"


@dataclass
class TargetSupervised(_OneSensor):
    """The upper bound of the table: real spikes of the target with the labels that the method does without."""

    name: ClassVar[str] = "target_supervised"
    sensor: ClassVar[str] = "spikes"
    domains: ClassVar[tuple[str, ...]] = ("target",)


@dataclass
class CrossModality(TaughtByDepth):
    """Stage 2, CFKD: from RGB to the mediate spikes of the same moment.

    The student is the network that stage 1 has kept. All sensors share its encoder beyond the stems, its trunk and its
    decoder: these it starts with. The stem of the spikes and their normalisations start as those of RGB, but for the
    first convolution, which has other inputs and is new (`networks.transfer`).

    Attributes:
        teaching: how the RGB teacher lives. An `ema` teacher is the student's average, so the student then goes on
            learning from RGB too.
        ckd: whether global features are distilled, by contrast over the batch.
        fkd: whether features are distilled pixel by pixel.
        ckd_weight, fkd_weight: of the two.
        fkd_levels: of `Prediction.features`, the ones distilled pixel by pixel; 3 is 1/16, after fusion.
        gate: where pixels are distilled: where the `teacher` is sure, the `student` unsure, `both` (as the paper draws
            it), where the teacher is surest `relative` to the student, or everywhere, `none` (as its code has it).
        sure: share of the pixels of a batch, by the teacher's uncertainty, at which it counts as sure; for `relative`,
            by the ratio of the two. At one half each, `both` leaves next to nothing: what is hard is hard for both.
        unsure: share, by the student's, at which that one counts as unsure.
    """

    teaching: Teaching = field(default_factory=Teaching)
    ckd: bool = True
    fkd: bool = True
    ckd_weight: float = 0.01
    fkd_weight: float = 0.01
    fkd_levels: tuple[int, ...] = (3,)
    gate: str = "both"
    sure: float = 0.75
    unsure: float = 0.75
    name: ClassVar[str] = "cross_modality"

    def __post_init__(self) -> None:
        if self.gate not in GATES:
            raise ValueError(f"gate is one of {GATES}, found {self.gate!r}")

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        modules = super().modules(_learned(start, self.name))
        student: DepthNetwork = modules["student"]  # type: ignore[assignment]
        modules["teacher"] = self.teaching.teacher(student, learned=True)
        start_sensor_from(student, "spikes", "rgb")
        if self.ckd:
            for sensor in ("rgb", "spikes"):
                width = self.architecture.widths[COARSEST]  # published: 768 to 512 to 256
                modules[f"project_{sensor}"] = PooledHead(width, 2 * width // 3, width // 3, norm="batch")
        return modules

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        return (_request(available, "source", ("spikes", "rgb"), labelled=True),)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        changed, clean, truth = self.view(batches[0], requests[0], step.generator)
        rgb, spikes = (replace(changed, images={s: changed.images[s]}) for s in ("rgb", "spikes"))
        student = modules["student"](spikes)
        with torch.set_grad_enabled(self.teaching.learns):
            # Who does not learn is asked for what it knows best: of the picture as it is.
            told = changed if self.teaching.learns else clean
            teacher = modules["teacher"](replace(told, images={"rgb": told.images["rgb"]}))

        total, parts = self.depth_loss(student.log_depth, student.log_scale, truth)
        if self.teaching.mode != "frozen":
            # An average of the student can tell from RGB only what the student has gone on learning from it.
            learner = teacher if self.teaching.learns else modules["student"](rgb)
            parts["rgb"] = self.depth_loss(learner.log_depth, learner.log_scale, truth)[0]
            total = total + parts["rgb"]
        if self.ckd:
            parts["ckd"] = self.coarse(modules, student, teacher)
            total = total + self.ckd_weight * parts["ckd"]
        if self.fkd:
            seen = in_sight(rgb) & in_sight(spikes)
            there, parts["kept"] = self.fine(student, teacher, seen)
            parts["fkd"] = self.teaching.pulls(there, self.fine(teacher, student, seen)[0])
            total = total + self.fkd_weight * parts["fkd"]
        return total, parts

    def coarse(self, modules: nn.ModuleDict, student: Prediction, teacher: Prediction) -> Tensor:
        """CKD: -log softmax_j(z_rgb_i . z_spikes_j) at j = i, mean over the batch's pictures i; z are projections of
        the mean coarsest features."""
        theirs = teacher.features[COARSEST]
        if self.teaching.mode != "mutual":
            theirs = theirs.detach()
        query, key = modules["project_rgb"](theirs), modules["project_spikes"](student.features[COARSEST])
        return paired_info_nce(query.float(), key.float())

    def fine(self, taught: Prediction, teacher: Prediction, seen: Tensor) -> tuple[Tensor, Tensor]:
        """FKD: sum_i m_i ||F_teacher_i - F_student_i||^2 / sum_i m_i over positions i, by the gate m.

        Returns:
            The loss, a mean over channels and levels; and the share of the positions seen that pass the gate.
        """
        losses, kept = [], []
        for own, theirs in ((taught.features[k], teacher.features[k].detach()) for k in self.fkd_levels):
            valid = _shrunk(seen.float(), own) > 0.5
            gate = self.gated(_shrunk(taught.uncertainty, own), _shrunk(teacher.uncertainty, own), valid)
            losses.append(feature_mse(own.float(), theirs.float(), gate))
            kept.append(gate.sum() / valid.sum().clamp(min=1))
        return torch.stack(losses).mean(), torch.stack(kept).mean()

    def gated(self, taught: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Where a feature is worth taking over, bool [B, h, w]: the teacher is sure of it, the student is not.

        Args:
            taught, teacher: uncertainties [B, h, w] of the two.
            valid: bool [B, h, w], where both see.
        """
        gate = valid
        if self.gate in ("both", "teacher"):
            gate = gate & least(teacher, valid, self.sure)
        if self.gate in ("both", "student"):
            gate = gate & least(-taught, valid, self.unsure)
        if self.gate == "relative":
            gate = gate & least(teacher / taught, valid, self.sure)
        return gate

    def after_step(self, modules: nn.ModuleDict, step: Step) -> None:
        self.teaching.follow(modules["teacher"], modules["student"])


@dataclass
class CrossDomain(TaughtByDepth):
    """Stage 3, SCTS: from the mediate spikes of the source to the real ones of the target.

    Attributes:
        self_teaching: how the teacher of the target's pseudo labels lives; it begins as the student's copy.
        scp: whether pseudo labels are learned from.
        sca: whether features are aligned.
        source_weight: of the supervised loss of the source; 0 leaves it out, as the published loop does.
        scp_weight, sca_weight: of the two parts.
        screen: share of the batch's pixels, by the teacher's uncertainty, that become labels.
        same_view: whether the teacher gets the student's picture with its looks changed, as the published code has
            it; else the picture as it is.
        reversal: how strongly the discriminator's gradient is reversed into the encoder, in the end.
        ramp: how soon that strength is reached: times 2 / (1 + exp(-ramp p)) - 1 at a share p of the stage (Ganin and
            Lempitsky, ICML 2015, with 10). 0 has it from the start.
        shared_discriminator: False gives each domain one of its own, the published defect.
        mix_statistics: whether normalisation statistics go on as an average of source and target. Pictures by night and
            in rain hold other things than those by day, and statistics that follow them, of features that did not, are
            wrong for either; the published network has none.
    """

    self_teaching: Teaching = field(default_factory=lambda: Teaching("ema", 0.999))
    scp: bool = True
    sca: bool = True
    source_weight: float = 1.0
    scp_weight: float = 1.0
    sca_weight: float = 0.1
    screen: float = 0.5
    same_view: bool = False
    reversal: float = 0.1
    ramp: float = 10.0
    shared_discriminator: bool = True
    mix_statistics: bool = False
    name: ClassVar[str] = "cross_domain"

    @property
    def domains(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("source", "target") if self.scp or self.sca else ("source",)

    def modules(self, start: DepthNetwork | None = None) -> nn.ModuleDict:
        modules = super().modules(_learned(start, self.name))
        if self.scp:
            modules["teacher"] = self.self_teaching.teacher(modules["student"], learned=True)
        if self.sca:
            width = self.architecture.widths[COARSEST]  # published: 768 to 256
            modules["discriminator"] = DomainDiscriminator(width, width // 3, self.shared_discriminator)
        return modules

    def requests(self, step: int, available: Mapping[str, tuple[str, ...]]) -> Sequence[Request]:
        return tuple(_request(available, domain, ("spikes",), domain == "source") for domain in self.domains)

    def loss(
        self, modules: nn.ModuleDict, batches: Sequence[SampleBatch], requests: Sequence[Request], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.mix_statistics:
            hold_statistics(modules)
        inputs, _, truth = self.view(batches[0], requests[0], step.generator)
        source = modules["student"](inputs)
        supervised, parts = self.depth_loss(source.log_depth, source.log_scale, truth)
        total = self.source_weight * supervised
        if len(batches) == 1:
            return total, parts

        changed, clean, _ = self.view(batches[1], requests[1], step.generator)
        target = modules["student"](changed)
        if self.scp:
            with torch.set_grad_enabled(self.self_teaching.learns):
                teacher = modules["teacher"](changed if self.same_view else clean)
            there, parts["kept"] = self.pseudo_loss(target, teacher, clean)
            parts["scp"] = self.self_teaching.pulls(there, self.pseudo_loss(teacher, target, clean)[0])
            total = total + self.scp_weight * parts["scp"]
            if self.self_teaching.learns:
                own = modules["teacher"](inputs)
                parts["teacher"] = self.depth_loss(own.log_depth, own.log_scale, truth)[0]
                total = total + self.source_weight * parts["teacher"]
        if self.sca:
            parts["sca"], parts["domain_told"] = modules["discriminator"](
                source.features[COARSEST], target.features[COARSEST], self.strength(step)
            )
            total = total + self.sca_weight * parts["sca"]
        return total, parts

    def pseudo_loss(self, taught: Prediction, teacher: Prediction, inputs: NetworkInput) -> tuple[Tensor, Tensor]:
        """SCP: the scale-invariant error against the teacher's depth where that may be believed.

        Believed are pixels that are seen, within range, and among the surest of the batch.

        Returns:
            The loss, and the share of all pixels that it is of.
        """
        near, far = (math.log(d) for d in self.depth_range)
        label = teacher.log_depth.detach()
        valid = in_sight(inputs) & (label >= near) & (label <= far)
        chosen = least(teacher.log_scale, valid, self.screen)
        return silog(taught.log_depth, label, chosen), chosen.float().mean()

    def strength(self, step: Step) -> float:
        """Of the reversed gradient."""
        rise = 2 / (1 + math.exp(-self.ramp * step.progress)) - 1 if self.ramp else 1.0
        return self.reversal * rise

    def after_step(self, modules: nn.ModuleDict, step: Step) -> None:
        if self.scp:
            self.self_teaching.follow(modules["teacher"], modules["student"])


def _shrunk(values: Tensor, features: Tensor) -> Tensor:
    """Maps [B, H, W] averaged down to the size of features [B, C, h, w]."""
    return F.interpolate(values.detach()[:, None], features.shape[-2:], mode="area")[:, 0]


def _learned(start: DepthNetwork | None, stage: str) -> DepthNetwork:
    if start is None:
        raise ValueError(f"{stage} goes on from a network that has learned the source; train it after another stage")
    return start


def _request(
    available: Mapping[str, tuple[str, ...]], domain: str, sensors: tuple[str, ...], labelled: bool
) -> Request:
    """In the frame of the first sensor."""
    missing = set(sensors) - set(available[domain])
    if missing:
        raise ValueError(f"samples of the domain {domain!r} must have {sensors}, found {available[domain]}")
    return Request(sensors[0], sensors, sensors[:1] if labelled else (), domain)


STAGES = {kind.name: kind for kind in (Pretrain, CrossModality, CrossDomain, SourceOnly, TargetSupervised)}
"""All that a row of the table may be made of, by name."""
SHARES = {"pretrain": 0.4, "cross_modality": 0.3, "cross_domain": 0.3}
"""Of the steps. Published: 30, 10 and 20 epochs, from weights of ImageNet, which the two later ones profit from."""
LEARNING_RATES = {"cross_modality": 0.5, "cross_domain": 0.3, "target_supervised": 0.5}
"""Of the training's, for stages that go on from learned weights. Published: a tenth for what ImageNet has taught."""


def bicross_stages(
    architecture: Architecture, seed: int = 0, stages: Sequence[str] = tuple(SHARES), **settings: Any
) -> tuple[Stage, ...]:
    """The stages of a row.

    Args:
        architecture: that knows `spikes`, and `rgb` where a stage learns from it.
        seed: of all draws.
        stages: names in `STAGES`, in order; they divide the steps as `SHARES` has them.
        settings: of any of the stages, each by its name; those that stages have in common go to all.

    Raises:
        ValueError: naming a stage or a setting that there is not.
    """
    unknown = [name for name in stages if name not in STAGES]
    known = {f.name for kind in STAGES.values() for f in fields(kind)} - {"architecture", "seed"}
    if unknown or not stages:
        raise ValueError(f"stages of bicross are {tuple(STAGES)}, found {tuple(stages)}")
    if set(settings) - known:
        raise ValueError(f"bicross has no setting {sorted(set(settings) - known)}; it has {sorted(known)}")
    total = sum(SHARES.get(name, 1.0) for name in stages)
    made = []
    for name in stages:
        kind = STAGES[name]
        own = {k: v for k, v in settings.items() if k in {f.name for f in fields(kind)}}
        # The last weights, not the best by validation: labels of the target are not to be looked at.
        share = SHARES.get(name, 1.0) / total
        made.append(Stage(kind(architecture, seed=seed, **own), share, "last", LEARNING_RATES.get(name, 1.0)))
    return tuple(made)
