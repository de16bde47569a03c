"""Online distillation: a copy of the network learns from the stream, and goes into service only when it is better.

By day, with every sensor healthy, the fused network is the teacher; the same network with fewer sensors (spikes alone,
say) learns to say the same, without labels, and keeps it for the night. Examples of the original training are learned
along, against forgetting. Normalisation statistics are frozen, as CoMoDA does (Kuznietsov et al., WACV 2021).

The engine knows no thread and no clock: `observe` takes a moment, `step` learns once. The same stream and seed give the
same weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from spike_depth_core.adaptation.agreement import edge_agreement
from spike_depth_core.adaptation.gate import ACCEPTED, Gate, GateOptions
from spike_depth_core.adaptation.guard import Guard, GuardOptions, Verdict
from spike_depth_core.adaptation.lessons import (
    Lesson,
    alike,
    by_the_better,
    from_teacher,
    from_truth,
    network_input,
    restricted,
)
from spike_depth_core.adaptation.reservoir import Reservoir
from spike_depth_core.inference.motion_stereo import Evidence, MotionStereoOptions, corrected
from spike_depth_core.inference.neighbours import NeighbourOptions, Neighbours, other_moments
from spike_depth_core.losses.depth import laplace_nll, log_l1
from spike_depth_core.networks.depth_network import DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import NetworkInput, stacked
from spike_depth_core.samples import DepthSample


@dataclass(frozen=True)
class AdaptationOptions:
    """How the stream is learned from.

    Attributes:
        students: sets of sensors that are taught, in turn; the first one's first sensor is the frame of reference.
        teacher_sensors: what the teacher sees; those of them that the moment has.
        follow: share by which the teacher's weights move towards those in service at each swap: 0 keeps the first
            network as the teacher for good (frozen), 1 makes the one in service teach (mean teacher at its extreme).
            Of moments that parallax corrects, those in service always teach.
        learning_rate: of Adam; CoMoDA's.
        live, replay, original: lessons of a step: the newest, older ones of the stream, and of the original training,
            every second one of these with all sensors.
        reservoir: lessons of the stream that are remembered.
        held_out: every how many accepted moments, and every how many original examples, one is kept for the guard and
            not learned from: what is learned by heart says nothing of what is forgotten.
        held_out_size: how many of the moments are kept, the newest.
        review_every: steps between the guard's reviews.
        screen: share of a picture's pixels, those that teacher or student is surest of, that are learned from.
        max_loss: steps with a larger loss, or one that is not finite, change nothing.
        averaging: share that the average of the candidate's weights keeps of itself at each step; it is the average
            that is judged and served (Polyak and Juditsky, 1992): single steps on single moments are noise.
        back_off: reviews that are waited after a refusal; doubles with each in a row, up to 64.
        uncertainty_weight: of the likelihood that teaches the uncertainty.
        neighbours, parallax: which moments, where their poses are known, correct what the teacher says, and how; None
            for no correction.
        gate, guard: what moments and weights have to pass.
        seed: of what is drawn.
    """

    students: tuple[tuple[str, ...], ...] = (("spikes",), ("spikes", "thermal"))
    teacher_sensors: tuple[str, ...] = ("spikes", "rgb", "nir", "thermal")
    follow: float = 0.0
    learning_rate: float = 1e-4
    live: int = 1
    replay: int = 1
    original: int = 3
    reservoir: int = 64
    held_out: int = 5
    held_out_size: int = 16
    review_every: int = 25
    screen: float = 0.9
    max_loss: float = 3.0
    averaging: float = 0.96
    back_off: int = 1
    uncertainty_weight: float = 0.1
    neighbours: NeighbourOptions = field(default_factory=NeighbourOptions)
    parallax: MotionStereoOptions | None = field(default_factory=MotionStereoOptions)
    gate: GateOptions = field(default_factory=GateOptions)
    guard: GuardOptions = field(default_factory=GuardOptions)
    seed: int = 0


@dataclass
class Counts:
    """What the engine has done so far."""

    steps: int = 0
    skipped_steps: int = 0
    reviews: int = 0
    swaps: int = 0
    rollbacks: int = 0
    measured: int = 0


class AdaptationEngine:
    """Learns on a copy, in small steps; what is in service changes only through the guard.

    Args:
        network: what is in service at the start; it is copied, and everything happens on its device.
        original: samples of the original training with true depth, at least one; the first, and every `held_out`-th
            after it, is the guard's.
        depth_range: metres of truth that count.
        options: see `AdaptationOptions`.

    Attributes:
        original: original examples that are learned from; `guard.original` are the others.
        service: the network in service; never written to, replaced whole by `review`.
        counts: what was done.
        verdict: the guard's last.
        loss: of the last step.
        gain: share of the error on held-out moments that the weights in service have taken off, each swap measured on
            the moments held out by then.
        kept: share of the last moment's pixels where the teacher was heard, see `by_the_better`.
        waiting: due reviews that are passed over, after a refusal.
    """

    def __init__(
        self,
        network: DepthNetwork,
        original: Sequence[DepthSample],
        depth_range: tuple[float, float] = (0.5, 100.0),
        options: AdaptationOptions | None = None,
    ):
        self.options = options = options or AdaptationOptions()
        known = set(network.architecture.sensors)
        for sensors in (*options.students, options.teacher_sensors):
            if not sensors or set(sensors) - known:
                raise ValueError(f"the network knows {sorted(known)}; asked to adapt {sensors}")
        self.service = _frozen(network)
        self._first = self.service
        self._teacher = self.service
        self.reference = options.students[0][0]
        self.pixels, self.depth_range = network.architecture.pixels, depth_range
        self.device = next(network.parameters()).device
        asked = self._known(original[:: options.held_out])
        self.guard = Guard(self._first, [replace(own, whole=whole) for own, whole in asked], options=options.guard)
        learned = [sample for i, sample in enumerate(original) if i % options.held_out]
        pairs = self._known(learned)
        self.original, self._whole = [own for own, _ in pairs], [whole for _, whole in pairs]
        self.gate = Gate(options.gate)
        self._neighbours = Neighbours(options.neighbours)
        self.memory: Reservoir[Lesson] = Reservoir(options.reservoir, options.seed)
        self.held_out: list[Lesson] = []
        self.counts = Counts()
        self.verdict: Verdict | None = None
        self.loss, self.kept, self.gain = math.nan, math.nan, 0.0
        self.enabled = True
        self._asked = self._learned = 0
        self._newest: list[Lesson] = []
        self.waiting, self._back_off = 0, options.back_off
        self._rng = np.random.default_rng([options.seed, 0xADA])
        self._begin()

    def _known(self, original: Sequence[DepthSample]) -> list[tuple[Lesson, Lesson]]:
        """Of each sample a lesson for one student, for each of them in turn, and the same with all sensors."""
        lessons = []
        for i, sample in enumerate(original):
            students = self._students(sample)
            if not students:
                raise ValueError(f"an original example has no student's sensors: it has {', '.join(sample.sensors)}")
            sensors = self._sensors(sample)
            whole = from_truth(sample, self.reference, sensors, self.pixels, self.depth_range, self.device)
            lessons.append((whole.seen_by(students[i % len(students)]), whole))
        return lessons

    def _students(self, sample: DepthSample) -> list[tuple[str, ...]]:
        """Those that the sample has all sensors of."""
        if self.reference not in sample.sensors:
            return []
        return [sensors for sensors in self.options.students if set(sensors) <= set(sample.sensors)]

    def _sensors(self, sample: DepthSample) -> tuple[str, ...]:
        """All that there are of the teacher's and the students' sensors."""
        used = {sensor for sensors in (*self.options.students, self.options.teacher_sensors) for sensor in sensors}
        return tuple(sensor for sensor in sample.sensors if sensor in used)

    # The stream

    def remember(self, sample: DepthSample) -> None:
        """A moment that later ones may be compared with, and that is not learned from."""
        self._neighbours.add(sample)

    def has_neighbours(self, sample: DepthSample) -> bool:
        """Whether it remembers moments that this one can be compared with, or compares none."""
        return self.options.parallax is None or bool(self._comparable(sample))

    def _comparable(self, sample: DepthSample) -> list[DepthSample]:
        """Moments that parallax can compare this one with."""
        if self.options.parallax is None:
            return []
        return [other for other in self._neighbours.of(sample) if self.reference in other.sensors]

    @torch.no_grad()
    def observe(self, sample: DepthSample) -> str:
        """Take a moment of the stream; returns `accepted` or why it is not learned from."""
        if not self.enabled:
            return "disabled"
        options = self.options
        neighbours = self._comparable(sample)
        self._neighbours.add(sample)
        verdict = self.gate.judge(sample)
        if verdict != ACCEPTED:
            return verdict
        students = self._students(sample)
        if not students:
            return self._reject("no student's sensors are there")
        teacher = tuple(sensor for sensor in options.teacher_sensors if sensor in sample.sensors)
        if not teacher:
            return self._reject(f"no {options.teacher_sensors[0]} for the teacher")
        inputs = network_input(sample, self.reference, self._sensors(sample), self.pixels, self.device)
        for sensor, fit in edge_agreement(inputs, self.reference).items():
            if options.gate.alignment > -1.0 and not fit >= options.gate.alignment:  # a correlation; NaN without edges
                return self._reject(f"{sensor} does not fit {self.reference}")
        # What frames correct may be told by weights that have learned: these are not their own judge there.
        told = (self.service if neighbours else self._teacher)(restricted(inputs, teacher))
        if not torch.isfinite(told.log_depth).all() or not torch.isfinite(told.log_scale).all():
            return self._reject("the teacher's answer is not finite")
        if float(told.uncertainty.median()) > options.gate.max_uncertainty:
            return self._reject("the teacher is unsure")
        answer, evidence = self.corrected(sample, inputs, told, neighbours)
        said = from_teacher(inputs, self.reference, teacher, answer, sample.time_ns)
        if not said.mask.any():
            return self._reject("the teacher sees nothing")
        # Both have turns of their own: where there are five students, every fifth moment would be the same one's.
        held = (self._asked + self._learned + 1) % options.held_out == 0
        student = students[(self._asked if held else self._learned) % len(students)]
        parallax = torch.zeros_like(said.mask) if evidence is None else evidence.said
        measured = bool(parallax.any())
        own = self.service(restricted(inputs, student))
        lesson, heard = self._lesson(said, answer, own, student, parallax)
        if not heard.any():
            return self._reject("the teacher is nowhere surer than the student")
        self.kept = float(heard.float().mean())
        self.counts.measured += measured
        # All sensors have something to learn, and to be judged by, where it is measured.
        whole, better = (
            self._lesson(said, answer, told, teacher, parallax) if measured else (said.seen_by(teacher), said.mask)
        )
        if held:  # what is asked is whether it has come closer to the teacher, not whether it has stayed elsewhere
            self._asked += 1
            whole = replace(whole, mask=better, evidence=evidence if measured else None)
            asked = replace(lesson, mask=heard, whole=whole)
            self.held_out = [*self.held_out, asked][-options.held_out_size :]
        else:
            self._learned += 1
            lesson = replace(lesson, whole=whole if measured else None)
            self.memory.offer(lesson)
            self._newest = [*self._newest, lesson][-options.live :]
        return ACCEPTED

    def corrected(
        self, sample: DepthSample, inputs: NetworkInput, told: Prediction, neighbours: Sequence[DepthSample]
    ) -> tuple[Prediction, Evidence | None]:
        """The teacher's answer with what parallax says of it, and that itself; None where there is none."""
        options = self.options.parallax
        if options is None or not neighbours:
            return told, None

        def prepared(other: DepthSample, sensors: tuple[str, ...]) -> NetworkInput:
            return network_input(other, self.reference, sensors, self.pixels, self.device)

        skew = self.options.neighbours.skew
        others = other_moments(sample, neighbours, self.reference, self._sensors(sample), prepared, skew)
        return corrected(told, inputs, others, options)

    def _lesson(
        self, said: Lesson, answer: Prediction, own: Prediction, student: tuple[str, ...], parallax: torch.Tensor
    ) -> tuple[Lesson, torch.Tensor]:
        """What a student, whose own answer is `own`, is to learn from a moment of which the teacher has said `said`, by
        its answer; and where in it the teacher is heard."""
        lesson, heard = by_the_better(said, answer.log_scale, parallax, own, self.options.screen)
        return lesson.seen_by(student), heard

    def _reject(self, reason: str) -> str:
        self.gate.reject(reason)
        return reason

    # Learning

    def step(self) -> bool:
        """One optimiser step, and a review when it is due; returns whether there was anything to learn."""
        options = self.options
        if not self.enabled or not self._newest:
            return False
        # The newest as the student sees it; what is remembered, with all sensors where it is measured: they learn, too.
        remembered = self.memory.draw(options.replay)
        lessons = [*self._newest, *(lesson.whole or lesson for lesson in remembered)]
        chosen = self._rng.permutation(len(self.original))[: options.original]
        # In turn by a student and by all sensors: what runs by day is to stay what it was, too.
        lessons += [(self._whole if k % 2 else self.original)[i] for k, i in enumerate(chosen)]
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for group in alike(lessons):
            found = self.candidate(stacked([lesson.inputs for lesson in group]))
            loss = found.log_depth.new_zeros(())
            # Each by itself: all count the same, whatever share of their pixels is known.
            for lesson, log_depth, log_scale in zip(group, found.log_depth, found.log_scale, strict=True):
                loss = loss + log_l1(log_depth[None], lesson.log_depth, lesson.mask)
                residual = (log_depth[None] - lesson.log_depth).detach()
                if lesson.source == "original":  # a teacher's certainty is not truth: only truth teaches uncertainty
                    loss = loss + options.uncertainty_weight * laplace_nll(log_scale[None], residual, lesson.mask)
            (loss / len(lessons)).backward()
            total += float(loss.detach()) / len(lessons)
        gradients = [p.grad for p in self.candidate.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(self.candidate.parameters(), 1.0)
        self.loss = total
        if not math.isfinite(total) or total > options.max_loss or not torch.isfinite(norm) or not gradients:
            self.counts.skipped_steps += 1
        else:
            self._optimizer.step()
            self._average()
            self.counts.steps += 1
        taken = self.counts.steps + self.counts.skipped_steps
        if taken % options.review_every == 0:
            if self.waiting:
                self.waiting -= 1
            else:
                self.review()
        return True

    # Service

    def review(self) -> Verdict | None:
        """Let the guard judge: a swap into service, or a roll-back to it. None while backing off, and where the weights
        are those in service."""
        if self.waiting or _same(self.averaged, self.service):
            return None
        candidate = _frozen(self.averaged)
        verdict = self.guard.judge(candidate, self.service, self.held_out)
        self.counts.reviews += 1
        self.verdict = verdict
        if verdict.accepted:
            self.service = candidate
            self._teacher = _between(self._teacher, candidate, self.options.follow)
            self.gain = 1 - (1 - self.gain) * verdict.live
            self.counts.swaps += 1
            self._back_off = self.options.back_off
        elif len(self.held_out) >= self.options.guard.least_held_out:
            self.rollback()
        return verdict

    def rollback(self) -> None:
        """Go on from what is in service, and wait longer after each roll-back in a row."""
        self.counts.rollbacks += 1
        self.waiting = self._back_off
        self._back_off = min(2 * self._back_off, 64)
        self._begin()

    def serve(self, network: DepthNetwork, gain: float = 0.0) -> None:
        """Put other weights into service, earlier ones say, and go on from them with nothing remembered of the stream:
        what was learned from it is what they are to replace.

        Args:
            network: of the same architecture.
            gain: that they are known to have.
        """
        self.service, self.gain = _frozen(network).to(self.device), gain
        self._teacher = _between(self._first, self.service, self.options.follow)
        self.memory.clear()
        self.held_out, self._newest = [], []
        self._neighbours.clear()
        self.verdict = None
        self.waiting, self._back_off = 0, self.options.back_off
        self._begin()

    def reset(self) -> None:
        """Back to the first weights, with nothing remembered of the stream."""
        self.serve(self._first)

    def status(self) -> dict[str, Any]:
        """Plain values for a message or a report."""
        counts = self.counts
        return {
            "enabled": self.enabled,
            "steps": counts.steps,
            "skipped_steps": counts.skipped_steps,
            "reviews": counts.reviews,
            "swaps": counts.swaps,
            "rollbacks": counts.rollbacks,
            "waiting_reviews": self.waiting,
            "measured_moments": counts.measured,
            "loss": self.loss,
            "kept": self.kept,
            "gain": self.gain,
            "remembered": len(self.memory),
            "held_out": len(self.held_out),
            "live_ratio": self.verdict.live if self.verdict else math.nan,
            "original_ratio": self.verdict.original if self.verdict else math.nan,
            "fused_ratio": self.verdict.fused if self.verdict else math.nan,
            "measured_ratio": self.verdict.measured if self.verdict else math.nan,
            "fused_drift": self.verdict.drift if self.verdict else math.nan,
            "refused": list(self.verdict.reasons) if self.verdict else [],
            "moments": dict(self.gate.counts),
        }

    @torch.no_grad()
    def _average(self) -> None:
        for kept, new in zip(self.averaged.parameters(), self.candidate.parameters(), strict=True):
            kept.lerp_(new, 1 - self.options.averaging)

    def _begin(self) -> None:
        """A fresh candidate and optimiser at the weights in service; statistics stay frozen (evaluation mode)."""
        self.candidate = copy.deepcopy(self.service).eval().requires_grad_(True)
        self.averaged = _frozen(self.service)
        self._optimizer = torch.optim.Adam(self.candidate.parameters(), lr=self.options.learning_rate)


def _same(a: DepthNetwork, b: DepthNetwork) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def _frozen(network: DepthNetwork) -> DepthNetwork:
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def _between(teacher: DepthNetwork, service: DepthNetwork, share: float) -> DepthNetwork:
    """The teacher moved towards the network in service by a share, as a new network."""
    if share == 0:
        return teacher
    moved = copy.deepcopy(teacher)
    theirs = service.state_dict()
    for name, own in moved.state_dict().items():
        if own.is_floating_point():
            own.lerp_(theirs[name], share)
    return moved
