"""Extraction on other processes, of which one is killed in the midst of a part: nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spike_depth_core.samples.shards import ShardWriter
from spike_depth_core.training.extracted import ExtractedSet
from spike_depth_core.training.extraction import extract_unit, plan_extraction
from spike_depth_core.training.manifest import ExtractionOptions, UnitJob
from spike_depth_core.workers import run_jobs
from test.core.training.drives import write_drive

OPTIONS = ExtractionOptions(planes=64, rate_hz=0.0, shares=(1, 0, 0), block_s=0.25)


def extract_and_die_once(job: UnitJob) -> dict[str, Any]:
    """Extract a part; the first time that part 1 is worked on its process dies with a shard half written."""
    mark = Path(job.folder).with_suffix(".died")
    if job.unit.number == 1 and not mark.exists():
        mark.touch()
        add = ShardWriter.add

        def add_and_die(self: ShardWriter, *arguments: Any) -> None:
            add(self, *arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        ShardWriter.add = add_and_die  # type: ignore[method-assign]  # of a process that is about to end
    return extract_unit(job)


def contents(folder: Path) -> dict[str, bytes]:
    found = ExtractedSet(folder)
    found.check_complete()
    shards = {shard["path"]: (folder / shard["path"]).read_bytes() for shard in found.shards()}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.tar")} == shards.keys()
    return shards


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param({"workers": 2}, id="processes"),
        pytest.param(
            {"ray": "local"},
            id="ray",
            marks=pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: requirements/ray.txt"),
        ),
    ],
)
def test_a_process_that_dies_with_a_shard_half_written(tmp_path, pool):
    bag = write_drive(tmp_path / "drive.mcap")
    for job in plan_extraction([bag], tmp_path / "whole", OPTIONS):
        extract_unit(job)
    jobs = plan_extraction([bag], tmp_path / "set", OPTIONS)
    outcomes = list(run_jobs(extract_and_die_once, jobs, **pool))
    assert (tmp_path / "set.died").exists()
    assert [outcome.error for outcome in outcomes] == [None] * len(jobs)
    assert sorted(outcome.job.unit.number for outcome in outcomes) == list(range(len(jobs)))
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")
