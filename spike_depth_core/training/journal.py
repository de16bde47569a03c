"""A training's log: lines of JSON, and TensorBoard's event files where that is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from spike_depth_core.whole_files import plain, write_whole


class Journal:
    """`log.jsonl` in a folder, and `tensorboard/` beside it.

    Args:
        folder: of the training.
        step: what was logged after it is dropped: a resumed run will write it again.
        writes: whether this process writes; of several, one does.
    """

    def __init__(self, folder: Path, step: int = 0, writes: bool = True):
        self.path = folder / "log.jsonl"
        self._writer: Any = None
        if not writes:
            return
        lines = read_log(folder)
        kept = [line for line in lines if line["step"] <= step]
        text = "".join(map(_line, kept))
        if self.path.exists() and text != self.path.read_text():
            write_whole(self.path, text.encode())
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # it is an extra
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1, max_queue=100)

    def write(self, values: dict[str, Any]) -> None:
        """Log what is known of `values["step"]`."""
        with open(self.path, "a") as file:
            file.write(_line(values))
        if self._writer is not None:
            for name, value in scalars(values).items():
                self._writer.add_scalar(name, value, values["step"])
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def _line(values: dict[str, Any]) -> str:
    """A line of the log, in which null stands for NaN and infinities."""
    return json.dumps(plain(values), allow_nan=False) + "\n"


def scalars(values: dict[str, Any]) -> dict[str, float]:
    """What of a line is drawn as a curve, by name: `train/l1`, `validation/spikes`."""
    if "validation" in values:
        found = {f"validation/{name}": float(value) for name, value in values["validation"].items()}
        return found | {"validation/mean": float(values["mean"])}
    return {f"train/{name}": float(value) for name, value in values.items() if name != "step"}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The learning curve so far: training losses now and then, and validations. A line that was not written to its end
    is left out.

    Raises:
        ValueError: naming the file, for what is no log.
    """
    path = folder / "log.jsonl"
    try:
        lines = path.read_text().split("\n")[:-1] if path.exists() else []  # what follows the last end of line is cut
        found = [json.loads(line, object_hook=_with_nan) for line in lines]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a training's log: {error}") from error
    for number, line in enumerate(found, 1):
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            raise ValueError(f"{path} is not a training's log: line {number} says nothing of a step")
    return found


def _with_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def validations_since_best(lines: list[dict[str, Any]]) -> int:
    """How many validations there were after the best one."""
    means = [line["mean"] for line in lines if "mean" in line]
    return len(means) - 1 - means.index(min(means)) if means else 0
