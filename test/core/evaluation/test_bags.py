"""Many bags: the table against replays put together by hand, what is kept and what is measured again."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spike_depth_core.bags import BagReader
from spike_depth_core.bags.recording import ABOUT
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.cli.main import app
from spike_depth_core.evaluation.bags import BagJob, BagOptions, BagStore, BagTable, evaluate_bags, fingerprint
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import Evaluation
from spike_depth_core.evaluation.replay import Replay
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.checkpoint import CheckpointInfo, read_info, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.whole_files import write_json
from test.core.bags.recordings import (
    LIDAR,
    START_NS,
    TRUTH,
    WALL_M,
    small_recording,
    with_lidar,
    write_killed_recording,
    write_recording,
)
from test.core.factories import ground_depth, small_rig

RIG = small_rig(64, 48)
SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 64)
# (name, seconds, condition): of different lengths, so that a mean over frames is not one over bags.
BAGS = (("a", 0.2, "day"), ("b", 0.14, "night"), ("c", 0.2, "night"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three drives, two checkpoints with the row prior of the road, and the rig."""
    folder = tmp_path_factory.mktemp("bags")
    for seed, (name, seconds, condition) in enumerate(BAGS):
        custom = {ABOUT: json.dumps({"condition": condition})}
        write_recording(folder / f"{name}.mcap", small_recording(seconds, seed, RIG), custom=custom)
    camera = RIG.cameras["spikes"]
    prior = RowPrior.fit([(ground_depth(camera), camera)]).to_dict()
    for seed, name in enumerate(("old", "new")):
        torch.manual_seed(seed)
        save_checkpoint(folder / f"{name}.safetensors", DepthNetwork(SMALL), CheckpointInfo(SMALL, row_prior=prior))
    RIG.save(folder / "rig.yaml")
    return folder


def jobs_of(folder: Path, names=("a", "b", "c"), **options) -> list[BagJob]:
    chosen = BagOptions(rig=str(folder / "rig.yaml"), **options)
    found = []
    for name in names:
        for label, checkpoint in (("A", "old"), ("B", "new")):
            path = str(folder / f"{checkpoint}.safetensors")
            found.append(BagJob(str(folder / f"{name}.mcap"), path, label, read_info(path).sha256, chosen))
    return found


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory) -> BagStore:
    """With every result."""
    store = BagStore(tmp_path_factory.mktemp("results"))
    assert [outcome.error for outcome in evaluate_bags(jobs_of(folder), store)] == 6 * [None]
    return store


@functools.cache
def by_hand(folder, name, checkpoint):
    """AbsRel by time, of a replay without any of this."""
    bag = BagReader(folder / f"{name}.mcap")
    estimator = DepthEstimator.load(folder / f"{checkpoint}.safetensors")
    run = Replay(bag, estimator, find_sensors(bag), RIG, truth=TRUTH, evaluation=Evaluation())
    return {frame.estimate.time_ns: frame.abs_rel for frame in run.frames()}


def test_the_table_is_of_the_frames_of_all_bags(folder, store):
    table = BagTable([store.load(job) for job in jobs_of(folder)])
    conditions, bags, everything = table.rows()
    old = {name: by_hand(folder, name, "old") for name, _, _ in BAGS}
    new = {name: by_hand(folder, name, "new") for name, _, _ in BAGS}

    def expected(names, checkpoint):
        return pytest.approx(np.mean([v for name in names for v in checkpoint[name].values()]))

    rows = [*zip(["day", "night"], (["a"], ["b", "c"]), conditions, strict=True)]
    rows += [(f"{n}.mcap", [n], row) for n, row in zip("abc", bags, strict=True)]
    for name, members, row in [*rows, ("all", ["a", "b", "c"], everything)]:
        assert row.name == name
        assert row.bags == len(members)
        assert row.frames == sum(len(old[n]) for n in members)
        assert row.scores["A"]["network"]["abs_rel"] == expected(members, old)
        assert row.scores["B"]["network"]["abs_rel"] == expected(members, new)
        assert row.difference == pytest.approx(
            np.mean([new[n][t] - v for n in members for t, v in old[n].items()]), abs=1e-9
        )
        # The prior was fitted to this very road.
        assert row.scores["A"]["row prior"]["abs_rel"] < 0.01
    assert [row.frames for row in bags] == [5, 3, 5]
    assert table.unpaired() == 0
    blocks, drives = table.tests()
    assert (blocks.units, drives.units) == (3, 3)
    assert blocks.difference == drives.difference == pytest.approx(everything.difference)


def test_only_moments_that_both_have_are_compared(folder, store):
    results = [store.load(job) for job in jobs_of(folder)]
    a = results[0]
    short = type(a)(
        a.bag,
        a.label,
        a.condition,
        a.times_ns[2:],
        {m: {k: v[2:] for k, v in s.items()} for m, s in a.scores.items()},
        a.figures,
    )
    table = BagTable([short, *results[1:]])
    assert table.unpaired() == 2
    first = table.rows()[1][0]
    old, new = by_hand(folder, "a", "old"), by_hand(folder, "a", "new")
    assert first.difference == pytest.approx(np.mean([new[t] - old[t] for t in sorted(old)[2:]]))


def test_an_interrupted_run_goes_on_where_it_was(folder, store, tmp_path):
    jobs, other = jobs_of(folder, "ab"), BagStore(tmp_path)
    running = evaluate_bags(jobs, other)
    first = next(running)
    running.close()
    again = [outcome.job for outcome in evaluate_bags(jobs, other)]
    assert [first.job, *again] == jobs
    assert [*evaluate_bags(jobs, other)] == []
    for job in jobs:
        assert np.array_equal(other.load(job).scores["network"]["rmse"], store.load(job).scores["network"]["rmse"])
    # Half a file is none.
    whole = other.path(jobs[2]).read_bytes()
    other.path(jobs[2]).write_bytes(whole[: len(whole) // 2])
    assert [outcome.job for outcome in evaluate_bags(jobs, other)] == [jobs[2]]


def test_a_bag_that_has_changed_is_another_one(folder, store):
    job = jobs_of(folder)[0]
    path, stat = store.path(job), os.stat(job.bag)
    try:
        os.utime(job.bag, ns=(0, START_NS))
        assert store.path(job) != path
    finally:
        os.utime(job.bag, ns=(0, stat.st_mtime_ns))
    assert store.path(job) == path
    assert store.path(jobs_of(folder, rate_hz=5.0)[0]) != path


def test_another_rig_under_the_same_name_is_another_one(folder, store):
    (job, _) = jobs_of(folder, "a")
    path, rig = store.path(job), Path(job.options.rig)
    content = rig.read_bytes()
    try:
        dataclasses.replace(RIG, height=2.0).save(rig)
        assert store.path(job) != path
        rig.unlink()
        assert store.load(job) is None  # what is wrong is told where it is measured again
    finally:
        rig.write_bytes(content)
    assert store.path(job) == path


def test_exported_graphs_are_measured_beside_the_checkpoint_they_are_of(folder, tmp_path):
    pytest.importorskip("onnx", reason="requirements/export.txt is not installed")
    pytest.importorskip("onnxruntime", reason="requirements/export.txt is not installed")
    graphs, checkpoint = tmp_path / "onnx", folder / "old.safetensors"
    exported = CliRunner().invoke(app, ["export", "--checkpoint", str(checkpoint), "--out", str(graphs)])
    assert exported.exit_code == 0, exported.output
    bag, rig = folder / "a.mcap", folder / "rig.yaml"
    arguments = ["--rig", rig, "--checkpoint", checkpoint, "--compare", graphs, "--out", tmp_path / "both"]
    result = CliRunner().invoke(app, ["evaluate", *map(str, [bag, *arguments])])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "both" / "metrics.json").read_text())
    assert found["checkpoints"]["A"]["sha256"] == found["checkpoints"]["B"]["sha256"]
    kept = [json.loads(path.read_text()) for path in (tmp_path / "both" / "bags").iterdir()]
    first, second = (np.array(one["scores"]["network"]["abs_rel"]) for one in kept)  # two files, not one twice
    np.testing.assert_allclose(first, second, rtol=1e-3)
    assert (first != second).any()
    result = CliRunner().invoke(app, ["replay", str(bag), "--checkpoint", str(graphs), "--adapt"])
    assert result.exit_code == 2
    assert f"--adapt learns, which exported graphs cannot: {graphs} is a folder" in result.stderr


def test_lidar_is_a_truth(folder, tmp_path):
    path = write_recording(tmp_path / "lidar.mcap", with_lidar(small_recording(rig=RIG)))
    (job, _) = jobs_of(folder, ["a"], truth=LIDAR)
    job = BagJob(str(path), *list(vars(job).values())[1:])
    (outcome,) = evaluate_bags([job], BagStore(tmp_path / "results"))
    assert outcome.error is None
    bag, estimator = BagReader(path), DepthEstimator.load(job.checkpoint)
    frames = list(Replay(bag, estimator, find_sensors(bag), RIG, truth=LIDAR).frames())
    scored = outcome.result["scores"]["network"]["abs_rel"]
    assert len(scored) == len(frames) == 5
    for value, frame in zip(scored, frames, strict=True):
        depth = np.clip(frame.estimate.depth[np.isfinite(frame.truth)], 1, 80)
        assert value == pytest.approx(np.mean(np.abs(depth - WALL_M) / WALL_M), rel=1e-4)


def run(folder, out, *arguments, bags="abc"):
    base = ["evaluate", *(str(folder / f"{n}.mcap") for n in bags), "--rig", str(folder / "rig.yaml")]
    base += ["--checkpoint", str(folder / "old.safetensors"), "--out", str(out)]
    return CliRunner().invoke(app, [*base, *map(str, arguments)])


def test_the_command(folder, store, tmp_path):
    result = run(folder, tmp_path, "--compare", folder / "new.safetensors")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    expected = BagTable([store.load(job) for job in jobs_of(folder)]).summary()["all"]
    assert metrics["all"]["difference"] == pytest.approx(expected["difference"], rel=1e-4)
    assert metrics["all"]["scores"]["B"]["network"] == pytest.approx(expected["scores"]["B"]["network"], rel=1e-5)
    assert metrics["paired"]["bags"]["units"] == 3
    assert len(metrics["by_bag"]) == 3
    text = (tmp_path / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        *("day", "night"),
        *("a.mcap", "b.mcap", "c.mcap"),
        "all",
    ]
    assert "too little for a test over bags: 3, where other drives take 6" in text
    assert metrics["paired"]["blocks"]["p"] is None
    assert "p =" not in text
    assert "too little for a test over blocks of time" in (tmp_path / "report.html").read_text()
    again = run(folder, tmp_path, "--compare", folder / "new.safetensors")
    assert "6 of 6 are measured already" in again.output
    (tmp_path / "best.png").write_text("of frames that were evaluated before")
    again = run(folder, tmp_path, "--compare", folder / "new.safetensors")
    assert again.stdout.splitlines()[-1] == f"{tmp_path}/: metrics.json, report.html, table.md"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "metrics.json", "report.html", "table.md"]


def test_a_bag_that_cannot_be_measured_is_told_and_does_not_keep_the_others(folder, tmp_path):
    blind = write_recording(tmp_path / "blind.mcap", [w for w in small_recording(rig=RIG) if w[0] != TRUTH])
    result = run(folder, tmp_path, blind, bags="b")
    assert result.exit_code == 2
    assert "1 of 2 could not be measured" in result.stderr
    assert "has no true depth of a simulated drive" in result.output
    assert json.loads((tmp_path / "metrics.json").read_text())["all"]["bags"] == 1


def test_a_bag_counts_once_however_it_is_spelt(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    (tmp_path / "link.mcap").symlink_to(folder / "a.mcap")
    for other in (Path("a.mcap"), folder / "." / "a.mcap", tmp_path / "link.mcap"):
        result = CliRunner().invoke(app, ["evaluate", "a.mcap", "b.mcap", str(other), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert f"one bag is given twice: a.mcap and {other}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_both_checkpoints_are_measured_on_a_recording_that_was_killed(folder, tmp_path):
    bag = write_killed_recording(tmp_path / "killed", small_recording(0.14, rig=RIG))
    for said in ("B - A", "2 of 2 are measured already"):
        result = run(folder, tmp_path / "out", bag, "--compare", folder / "new.safetensors", bags="")
        assert result.exit_code == 0, result.output
        assert said in result.stdout
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["all"]["frames"] == 3
    assert found["unpaired_frames"] == 0
    assert set(found["by_bag"][str(bag)]["replays"]) == {"A", "B"}
    assert (bag / "killed.db3-shm").exists()  # it was read by its journal
    journal = bag / "killed.db3-wal"
    before = fingerprint(bag), fingerprint(bag / "killed.db3")
    os.utime(journal, ns=(0, START_NS))
    assert fingerprint(bag) != before[0]
    assert fingerprint(bag / "killed.db3") != before[1]


def test_columns_say_whose_they_are_where_one_checkpoint_failed_on_all_bags(folder, tmp_path):
    thermal = dataclasses.replace(SMALL, sensors=("thermal",))
    save_checkpoint(tmp_path / "thermal.safetensors", DepthNetwork(thermal), CheckpointInfo(thermal))
    one, other = tmp_path / "thermal.safetensors", folder / "new.safetensors"
    result = run(folder, tmp_path / "out", "--checkpoint", one, "--compare", other, bags="b")
    assert result.exit_code == 2
    assert "1 of 2 could not be measured" in result.stderr
    (head, _, *rows) = (line for line in (tmp_path / "out" / "table.md").read_text().splitlines() if "|" in line)
    cells = [dict(zip(head.split(" | "), row.split(" | "), strict=True)) for row in rows]
    errors = np.mean([*by_hand(folder, "b", "new").values()])
    assert [(row["AbsRel of A"], row["AbsRel of B"]) for row in cells] == 2 * [("-", f"{errors:.3f}")]
    assert "3 frames of one checkpoint alone are in the table" in result.stdout
    assert "AbsRel of A" in (tmp_path / "out" / "report.html").read_text()


def test_a_bag_that_changes_while_it_is_measured_has_failed(folder, tmp_path, monkeypatch):
    growing = tmp_path / "growing.mcap"
    shutil.copy(folder / "b.mcap", growing)

    def save(self, job, result):
        write_json(self.path(job), result)
        if job.bag == str(growing):
            os.utime(growing, ns=(0, START_NS))

    monkeypatch.setattr(BagStore, "save", save)
    result = run(folder, tmp_path / "out", growing, bags="b")
    assert result.exit_code == 2
    assert f"{growing}: it has changed since it was measured with A" in result.stdout
    assert f"1 of 2 could not be measured: {growing}" in result.stderr
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["failed"], found["all"]["bags"]) == ([str(growing)], 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.mcap", "--world", "1"], "give one of"),
        (["nowhere.mcap"], "there is no bag nowhere.mcap"),
        (["--world", "1", "--compare", "x.safetensors"], "--compare belongs to BAGS"),
        (["--world", "1", "--workers", "2"], "--workers belongs to BAGS"),
        (["--world", "1", "--rate", "0"], "--rate belongs to BAGS"),
        (["--kitti", "x", "--truth-tolerance", "1", "--block", "1"], "--block, --truth-tolerance belongs to BAGS"),
        (["a.mcap", "--frames", "1"], "--frames belongs to --world"),
        (["a.mcap", "--block", "1"], "--block belongs to --compare"),
    ],
)
def test_what_the_command_cannot_do(arguments, said):
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


POOLS = [
    pytest.param(["--workers", 2], id="processes"),
    pytest.param(["--ray", "local"], id="ray", marks=pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")),
]


@pytest.mark.parametrize("pool", POOLS)
def test_other_processes_find_the_same(folder, store, tmp_path, pool):
    result = run(folder, tmp_path, *pool, bags="bc")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    expected = BagTable([store.load(job) for job in jobs_of(folder, "bc") if job.label == "A"]).summary()
    assert metrics["all"]["scores"]["A"]["network"] == pytest.approx(
        expected["all"]["scores"]["A"]["network"], rel=1e-5
    )
