"""Jobs that end well, badly, or by the death of their process: here, on processes, and on a Ray cluster."""

from __future__ import annotations

import os
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from spike_depth_core.workers import ATTEMPTS, run_jobs

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install -r requirements/ray.txt")


def work(job: tuple[str, int]) -> int:
    """Doubles a number; leaves a mark for each time it is run."""
    folder, number = job
    marks = len(list(Path(folder).glob(f"{number}.*")))
    Path(folder, f"{number}.{marks}").touch()
    if number == 3:
        raise ValueError("three cannot be doubled")
    if number == 4:
        raise ZeroDivisionError("ours")
    if number == 5 and marks == 0:  # dies in the midst of it, once
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def outcomes(folder: Path, numbers: list[int], **options) -> tuple[dict, Counter]:
    """Outcomes by number, and how often each was run."""
    found = list(run_jobs(work, [(str(folder), n) for n in numbers], **options))
    assert len({outcome.job[1] for outcome in found}) == len(found), "an outcome came twice"
    return {o.job[1]: o for o in found}, Counter(int(path.stem) for path in folder.iterdir())


POOLS = [
    pytest.param({"workers": 2}, id="processes"),
    pytest.param({"ray": "local"}, id="ray", marks=needs_ray),
]


@pytest.mark.parametrize("options", [pytest.param({}, id="here"), *POOLS])
def test_each_job_has_one_outcome(tmp_path, options):
    found, runs = outcomes(tmp_path, [0, 1, 2, 3, 4], **options)
    assert {n: o.result for n, o in found.items()} == {0: 0, 1: 2, 2: 4, 3: None, 4: None}
    assert (found[3].error, found[3].fault) == ("three cannot be doubled", "")
    assert found[4].error == "ZeroDivisionError: ours"
    assert "test_workers.py" in found[4].fault
    assert runs == dict.fromkeys(range(5), 1)


@pytest.mark.parametrize("options", POOLS)
def test_a_process_that_dies_loses_nothing_and_doubles_nothing(tmp_path, options):
    found, runs = outcomes(tmp_path, [0, 5, 1, 6, 2], **options)
    assert {n: o.result for n, o in found.items()} == {0: 0, 1: 2, 2: 4, 5: 10, 6: None}
    assert f"{ATTEMPTS} processes died of it" in found[6].error
    assert runs == {0: 1, 1: 1, 2: 1, 5: 2, 6: ATTEMPTS}


def test_what_the_pool_cannot_do(monkeypatch):
    with pytest.raises(ValueError, match="1 or more, found 0"):
        next(run_jobs(work, [], workers=0))
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[ray\]'"):
        next(run_jobs(work, [], ray="auto"))


@needs_ray
def test_a_cluster_that_is_not_there():
    with pytest.raises(ValueError, match=r"no Ray cluster at .127\.0\.0\.1:1"):
        next(run_jobs(work, [], ray="127.0.0.1:1"))
