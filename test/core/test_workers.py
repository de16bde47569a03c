"""Jobs that end well, badly, or by the death of their process: here, on processes, and on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
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


def wait_for_ever(folder: str) -> None:
    written = Path(folder, "pid.partial")
    written.write_text(str(os.getpid()))
    written.rename(Path(folder, "pid"))
    threading.Event().wait()


def test_no_job_goes_on_without_who_asked_for_it(tmp_path):
    code = "from spike_depth_core.workers import run_jobs; from test.core.test_workers import wait_for_ever; "
    code += f"list(run_jobs(wait_for_ever, [{str(tmp_path)!r}], workers=2))"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE) as asker:
        while not (tmp_path / "pid").exists():
            assert asker.poll() is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                asker.wait(0.05)
        job = os.pidfd_open(int((tmp_path / "pid").read_text()))
        asker.kill()
    ended, _, _ = select.select([job], [], [], 30)
    if not ended:
        signal.pidfd_send_signal(job, signal.SIGKILL)
    os.close(job)
    assert ended


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
