"""The log: lines of JSON always, TensorBoard's curves where it is installed; the same after a stop."""

from __future__ import annotations

import json
import math
import sys
from importlib.util import find_spec

import pytest

from spike_depth_core.training.journal import Journal, read_log, scalars, validations_since_best

LOSS = {"step": 50, "seconds": 1.5, "l1": 0.25}
SCORE = {"step": 50, "validation": {"a/spikes": 0.5, "a/rgb": 0.3}, "mean": 0.4}


def test_lines_stay_until_their_step_and_go_after_it(tmp_path):
    journal = Journal(tmp_path)
    journal.write(LOSS)
    journal.write(SCORE)
    journal.write({**LOSS, "step": 100})
    journal.close()
    Journal(tmp_path, writes=False)
    assert len(read_log(tmp_path)) == 3
    Journal(tmp_path, 50).close()
    assert read_log(tmp_path) == [LOSS, SCORE]
    assert read_log(tmp_path / "nowhere") == []


def test_a_line_that_was_not_written_to_its_end_is_dropped(tmp_path):
    """The machine went down while it was written, and the next one must not be glued to it."""
    journal = Journal(tmp_path)
    journal.write(LOSS)
    journal.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 50, "val')
    assert read_log(tmp_path) == [LOSS]
    journal = Journal(tmp_path, 50)
    journal.write(SCORE)
    journal.close()
    assert read_log(tmp_path) == [LOSS, SCORE]
    for content in (b"no log\n", b"\xff\n", b"[1]\n", b'{"a": 1}\n', b'{"step": "x"}\n', b"[" * 100_000 + b"\n"):
        (tmp_path / "log.jsonl").write_bytes(content)
        with pytest.raises(ValueError, match=r"log\.jsonl is not a training's log"):
            read_log(tmp_path)


def test_what_is_no_number_is_written_as_json_has_it(tmp_path):
    journal = Journal(tmp_path)
    journal.write({**LOSS, "l1": math.nan})
    journal.write({**SCORE, "validation": {"a": math.inf}})
    journal.close()

    def refuse(constant):
        raise AssertionError(constant)

    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse) for line in lines] == [
        {**LOSS, "l1": None},
        {**SCORE, "validation": {"a": None}},
    ]
    one, other = read_log(tmp_path)
    assert math.isnan(one["l1"])
    assert math.isnan(other["validation"]["a"])
    Journal(tmp_path, 50).close()
    assert (tmp_path / "log.jsonl").read_text().splitlines() == lines


def test_curves_have_names():
    assert scalars(LOSS) == {"train/seconds": 1.5, "train/l1": 0.25}
    assert scalars(SCORE) == {"validation/a/spikes": 0.5, "validation/a/rgb": 0.3, "validation/mean": 0.4}


def test_validations_are_counted_from_the_best():
    lines = [{"mean": m} for m in (0.5, 0.3, 0.4, 0.3)]
    assert [validations_since_best(lines[:k]) for k in range(5)] == [0, 0, 0, 1, 2]


def test_without_tensorboard_there_are_lines(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    journal = Journal(tmp_path)
    journal.write(LOSS)
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard: pip install -r requirements/train.txt")
def test_tensorboard_shows_the_curves_of_a_resumed_run_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Journal(tmp_path)
    for step in (50, 100):
        first.write({**LOSS, "step": step})
    first.write(SCORE)
    first.close()
    resumed = Journal(tmp_path, 50)
    resumed.write({**LOSS, "step": 100, "l1": 0.125})
    resumed.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/l1")] == [(50, 0.25), (100, 0.125)]
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("validation/mean")] == [(50, 0.4)]
