"""The training loop: steppable, resumable to the bit on one machine, and ignorant of what it trains."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from spike_depth_core.networks.blocks import hold_statistics
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.recipes import Recipe, Request, Step
from spike_depth_core.recipes.recipe import description
from spike_depth_core.samples.batch import SampleBatch
from spike_depth_core.training import distributed
from spike_depth_core.training.ema import ExponentialMovingAverage
from spike_depth_core.whole_files import write_whole


@dataclass(frozen=True)
class LoopOptions:
    """How long and how hard to train.

    Attributes:
        steps: optimiser steps in all; the learning rate's schedule spans them.
        batch_size: samples a step.
        learning_rate: peak of AdamW's rate.
        weight_decay: of AdamW.
        warmup: share of the steps over which the rate rises.
        clip: bound on the gradient's norm.
        ema_decay: of the averaged weights.
        freeze_norm: share of the steps after which normalisation statistics stand still. A batch holds one set of
            sensors, so its own statistics are not those the network is used with; the rest of the training is.
        seed: of weights, draws and augmentation.
        precision: of the forward pass: `float32` or `bfloat16`. Losses and weights are float32 either way.
    """

    steps: int = 20_000
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.03
    clip: float = 1.0
    ema_decay: float = 0.999
    freeze_norm: float = 0.6
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is float32 or bfloat16, found {self.precision!r}")


def learning_rate(step: int, options: LoopOptions) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of the peak."""
    rise = max(1, round(options.warmup * options.steps))
    if step < rise:
        return options.learning_rate * (step + 1) / rise
    progress = (step - rise) / max(1, options.steps - rise)
    return options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


class Trainer:
    """A recipe, its modules and their optimiser; one call of `step` is one optimiser step.

    Args:
        recipe: what is learned.
        options: see `LoopOptions`.
        device: where to train.
        start: the student to start from; the recipe's own fresh one when None.
        origin: JSON values that say what is learned from, and beginning with what: a state is resumed only where they
            are equal.

    Attributes:
        next_step: number of the step to come.
        skipped: steps without effect, because a gradient was not finite.
        sums: of the losses since they were last logged, by name, each with the number of steps that are in it, which
            those that were skipped are not: for the caller, kept with the state.
    """

    def __init__(
        self,
        recipe: Recipe,
        options: LoopOptions,
        device: torch.device | str = "cpu",
        start: DepthNetwork | None = None,
        origin: Mapping[str, Any] | None = None,
    ):
        self.recipe, self.options, self.device = recipe, options, torch.device(device)
        self.origin = dict(origin or {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            modules = recipe.modules(start)
        self.modules: nn.ModuleDict = modules.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.modules.values():
            module.train(any(p.requires_grad for p in module.parameters()))
        self.average = ExponentialMovingAverage(self.student, options.ema_decay)
        self.parameters = [p for p in self.modules.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.dim() > 1]
        plain = [p for p in self.parameters if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": options.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=options.learning_rate,
            fused=True,
        )
        self.next_step = 0
        self.skipped = 0
        self.sums: dict[str, torch.Tensor] = {}

    @property
    def student(self) -> DepthNetwork:
        """What is learned in the end."""
        student = self.modules["student"]
        assert isinstance(student, DepthNetwork)
        return student

    def step(self, batches: Sequence[SampleBatch], requests: Sequence[Request]) -> dict[str, torch.Tensor]:
        """One optimiser step. Returns the loss and its parts as tensors still on the device.

        A step whose gradient is not finite changes neither weights nor statistics of normalisation; it is counted in
        `skipped`.
        """
        generator = torch.Generator(self.device)
        rank, processes = distributed.place()
        generator.manual_seed((self.options.seed * 1_000_003 + self.next_step) * processes + rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.next_step, self.options)
        if self.next_step >= self.options.freeze_norm * self.options.steps:
            hold_statistics(self.modules)
        step = Step(self.next_step, self.options.steps, generator)
        batches = [batch.to(self.device) for batch in batches]
        before = self._statistics()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            total, parts = self.recipe.loss(self.modules, batches, requests, step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        distributed.average(self.modules)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.recipe.after_step(self.modules, step)
            self.average.update(self.student, self.next_step)
        else:
            self.skipped += 1
            for buffer, value in zip(self._buffers(), before, strict=True):  # the forward pass has moved them already
                buffer.copy_(value)
        self.next_step += 1
        return {"loss": total.detach(), **{k: v.detach() for k, v in parts.items()}, "gradient": norm}

    def _buffers(self) -> list[torch.Tensor]:
        return [buffer for buffer in self.modules.buffers() if buffer.is_floating_point()]

    def _statistics(self) -> list[torch.Tensor]:
        return [buffer.clone() for buffer in self._buffers()]

    def save(self, path: str | Path) -> None:
        """Write everything a resumed run needs into one safetensors file."""
        path = Path(path)
        tensors = {f"modules.{k}": v for k, v in self.modules.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.network.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {f"sums.{k}": v for k, v in self.sums.items()}
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        about = {**self._identity(), "next_step": self.next_step, "skipped": self.skipped}
        # One file, so that weights and step number can never be of two different moments.
        write_whole(path.with_suffix(".safetensors"), save(tensors, {"about": json.dumps(about)}))

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises ValueError when it is damaged or belongs to another training."""
        path = Path(path).with_suffix(".safetensors")
        try:
            about, tensors = read_metadata(path), load_file(path)
        except (SafetensorError, ValueError) as error:
            raise ValueError(
                f"{path} is not a training's state: {error}; without it the training begins anew"
            ) from error
        if "digests" in self.origin:  # which older states do not tell
            about.get("origin", {}).setdefault("digests", self.origin["digests"])
        for key, value in self._identity().items():
            if about.get(key) != value:
                raise ValueError(f"{path} is of another training: {_difference(key, about.get(key), value)}")

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.modules.load_state_dict(part("modules."))
        self.average.network.load_state_dict(part("average."))
        state: dict[int, dict[str, Any]] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, value in part("optimizer.").items():
            index, name = key.split(".", 1)
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:  # in the parameter's order in memory, which the fused optimiser takes
                value = torch.empty_like(parameter).copy_(value)
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.next_step, self.skipped = about["next_step"], about["skipped"]
        # A state of an earlier version tells no number of steps: its next line is of those after it.
        self.sums = {k: v.to(self.device) for k, v in part("sums.").items() if v.dim()}

    def _identity(self) -> dict[str, Any]:
        """What has to be equal for a training to go on, as JSON values."""
        identity = {
            "recipe": description(self.recipe),
            "architecture": self.student.architecture.to_dict(),
            "options": asdict(self.options),
            "origin": self.origin,
        }
        return json.loads(json.dumps(identity))


def _difference(what: str, before: Any, now: Any) -> str:
    """In words; of two mappings only of what differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        parts = [
            _difference(f"{what}.{key}", before.get(key), now.get(key))
            for key in dict.fromkeys((*before, *now))
            if before.get(key) != now.get(key)
        ]
        return "; ".join(parts)
    return f"{what} was {before}, is now {now}"


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON that `Trainer.save` put into the file's header."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("about", "{}"))
