"""How a teacher lives beside its student: frozen, following it, or learning in the same step."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)
MODES = ("frozen", "ema", "online", "mutual")


@dataclass(frozen=True)
class Teaching:
    """One switch for every recipe that distils.

    Attributes:
        mode: `frozen`: the teacher has learned before and stays as it is. `ema`: it is the moving average of the
            student's weights (mean teacher, Tarvainen and Valpola, NeurIPS 2017); teacher and student are of one
            shape. Both begin as a copy of a network that has learned. `online`: it learns its own task in the same
            steps, untouched by the distillation. `mutual`: it does, and is also drawn towards the student (deep
            mutual learning, Zhang et al., CVPR 2018).
        decay: of the moving average, per step.
    """

    mode: str = "frozen"
    decay: float = 0.999

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"a teacher's mode is one of {MODES}, found {self.mode!r}")

    @property
    def learns(self) -> bool:
        """Whether the teacher has a loss of its own in the student's steps."""
        return self.mode in ("online", "mutual")

    def teacher(self, network: N, learned: bool) -> N:
        """A teacher that begins as a copy of `network`, with gradients where it learns.

        Args:
            network: to copy.
            learned: whether its weights have been trained.

        Raises:
            ValueError: when what does not learn would teach random weights.
        """
        if not (learned or self.learns):
            raise ValueError(
                f"a teacher of mode {self.mode!r} begins as a copy of a network that has learned; train it after "
                "another stage or start from a checkpoint"
            )
        return copy.deepcopy(network).requires_grad_(self.learns)

    def pulls(self, student_to_teacher: Tensor, teacher_to_student: Tensor) -> Tensor:
        """The sum of the distillation losses that act in this mode.

        Args:
            student_to_teacher: the student's loss against the detached teacher.
            teacher_to_student: the teacher's loss against the detached student; counts in `mutual` only.
        """
        return student_to_teacher + teacher_to_student if self.mode == "mutual" else student_to_teacher

    @torch.no_grad()
    def follow(self, teacher: nn.Module, student: nn.Module) -> None:
        """After an optimiser step: in mode `ema` the teacher moves towards the student, else nothing happens.

        Normalisation statistics, themselves averages, are copied: a lag on top of theirs would be of no use.
        """
        if self.mode != "ema":
            return
        parameters = dict(student.named_parameters())
        for name, own in teacher.named_parameters():
            own.lerp_(parameters[name], 1 - self.decay)
        buffers = dict(student.named_buffers())
        for name, buffer in teacher.named_buffers():
            buffer.copy_(buffers[name])
