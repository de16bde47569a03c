"""What is learned is kept, taken up again, and taken back; a full disk and a kill lose nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from spike_depth_core.adaptation import AdaptationSession, GuardOptions, Snapshots, Verdict, snapshots
from spike_depth_core.networks import checkpoint as checkpoints
from spike_depth_core.networks.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint, save_checkpoint
from test.core.adaptation.toys import BOLD, SMALL, same_weights, toy_network, toy_originals, toy_stream

# Whatever has been learned is accepted, so that it is known when something is.
EASY = dataclasses.replace(
    BOLD,
    review_every=2,
    original=1,
    replay=0,
    held_out_size=1,
    guard=GuardOptions(9.0, 9.0, 9.0, least_held_out=1, fused_bound=9.0, drift_bound=9.0),
)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("first") / "first.safetensors"
    save_checkpoint(path, toy_network(), CheckpointInfo(SMALL, depth_range=(0.5, 100.0), training={"recipe": "toy"}))
    return path


def drive(session, count=8, start=0):
    """Observe and learn; returns the hashes in service, each once, in order: of `EASY` four for eight moments."""
    served = [session.service.sha256]
    for sample in toy_stream(count, start):
        session.observe(sample)
        session.step()
        if session.service.sha256 != served[-1]:
            served.append(session.service.sha256)
    return served


def begun(checkpoint, folder, **options):
    session = AdaptationSession(checkpoint, Snapshots(folder, keep=20), dataclasses.replace(EASY, **options))
    session.begin(toy_originals()[:1])
    return session


def test_every_swap_is_on_disk_with_where_it_came_from(checkpoint, tmp_path):
    session = begun(checkpoint, tmp_path)
    served = drive(session)
    assert len(served) == 4
    assert session.snapshots.hashes() == served[1:]
    assert session.lineage() == served[::-1]
    network, info = load_checkpoint(session.path)
    assert same_weights(network, session.engine.service)
    assert (info.sha256, session.snapshots.serving()) == (served[-1], served[-1])
    about = info.training["adaptation"]
    assert info.training["recipe"] == "toy"
    assert about["first"] == session.first.sha256
    assert 0 < about["begin_ns"] < about["end_ns"]
    assert about["counts"]["swaps"] == len(served) - 1
    assert 0 < about["fused_ratio"] < 9
    assert 0 < about["fused_drift"] < 9
    assert about["settings"]["learning_rate"] == EASY.learning_rate
    assert about["gain"] == session.engine.gain != 0


def test_a_restart_goes_on_from_what_was_in_service(checkpoint, tmp_path):
    session = begun(checkpoint, tmp_path)
    served = drive(session)
    again = AdaptationSession(checkpoint, Snapshots(tmp_path), EASY)
    assert (again.service.sha256, again.first.sha256) == (served[-1], served[0])
    again.begin(toy_originals()[:1])
    assert same_weights(again.engine.service, session.engine.service)
    assert again.engine.gain == pytest.approx(session.engine.gain)
    assert AdaptationSession(checkpoint, Snapshots(tmp_path), EASY, resume=False).service.sha256 == served[0]
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, toy_network(), CheckpointInfo(SMALL, training={"recipe": "another"}), compact=True)
    assert AdaptationSession(other, Snapshots(tmp_path), EASY).path == other  # what it learned is another's
    session.path.write_bytes(b"damaged")
    assert AdaptationSession(checkpoint, Snapshots(tmp_path), EASY).service.sha256 == served[0]


@pytest.mark.parametrize("running", [True, False])
def test_steps_are_taken_back_one_by_one_and_stay_so(checkpoint, tmp_path, running):
    session = begun(checkpoint, tmp_path)
    served = drive(session)
    if not running:
        session = AdaptationSession(checkpoint, Snapshots(tmp_path), EASY)
    for expected in served[-2::-1]:
        assert session.roll_back() == expected
        assert session.service.sha256 == expected
        assert AdaptationSession(checkpoint, Snapshots(tmp_path), EASY).service.sha256 == expected
        if running:
            assert same_weights(session.engine.service, load_checkpoint(session.path)[0])
            assert not session.engine.memory.items
    with pytest.raises(ValueError, match="nothing before them"):
        session.roll_back()
    if running:
        assert session.engine.counts.rollbacks == len(served) - 1
        assert drive(session, 16, 50)[-1] not in served  # it learns again, and what it learns is of another branch
        assert session.lineage()[-1] == served[0]


def test_what_is_not_kept_any_more_is_named_and_reset_still_works(checkpoint, tmp_path):
    session = AdaptationSession(checkpoint, Snapshots(tmp_path, keep=1), EASY)
    session.begin(toy_originals()[:1])
    served = drive(session)
    assert session.roll_back() == served[-2]  # the one before was in service when this one was written
    with pytest.raises(ValueError, match=f"{served[-3][:16]}, is not kept any more"):
        session.roll_back()
    assert session.service.sha256 == served[-2]
    assert session.reset() == served[0]
    assert AdaptationSession(checkpoint, Snapshots(tmp_path), EASY).service.sha256 == served[0]


def test_a_full_disk_keeps_what_was_and_is_tried_again(checkpoint, tmp_path, monkeypatch):
    session = begun(checkpoint, tmp_path)
    before = drive(session)
    writes = []

    def full(path, content):
        writes.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_whole", full)
    assert drive(session, start=20)[-1] == before[-1]
    assert "No space left" in session.failure
    assert session.status()["service_sha256"] == before[-1]
    assert len(writes) == session.engine.counts.swaps - 3 > 1  # once a review, not at every step
    assert same_weights(Snapshots(tmp_path).latest()[0], load_checkpoint(session.path)[0])
    monkeypatch.undo()
    after = drive(session, start=40)
    assert session.failure == ""
    assert after[-1] != before[-1]
    assert after[-1] == Snapshots(tmp_path).serving()
    assert session.lineage()[-1] == session.first.sha256


@pytest.mark.parametrize("undo", ["roll_back", "reset"])
def test_a_full_disk_does_not_keep_from_undoing(checkpoint, tmp_path, monkeypatch, undo):
    session = begun(checkpoint, tmp_path)
    served = drive(session)
    expected = {"roll_back": served[-2], "reset": served[0]}[undo]

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "write_json", full)
    assert getattr(session, undo)() == expected
    assert (session.service.sha256, session.status()["service_sha256"]) == (expected, expected)
    assert same_weights(session.engine.service, load_checkpoint(session.path)[0])
    assert "No space left" in session.failure
    assert "noted" in session.failure
    monkeypatch.undo()
    # Nothing new comes into service, that would be noted in its turn.
    monkeypatch.setattr(session.engine.guard, "judge", lambda *_: Verdict(("refused",)))
    drive(session, start=20)
    assert session.failure == ""
    assert AdaptationSession(checkpoint, Snapshots(tmp_path), EASY).service.sha256 == expected


def test_a_snapshot_asked_for_again_is_the_one_there_is(checkpoint, tmp_path):
    session = begun(checkpoint, tmp_path, review_every=10_000)
    drive(session)
    found = session.snapshot()
    assert [session.snapshot() for _ in range(3)] == [found] * 3
    assert session.snapshots.hashes() == [found]
    assert session.lineage() == [found, session.first.sha256]
    assert session.roll_back() == session.first.sha256


def test_asked_for_a_snapshot_the_guard_judges(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="has not begun"):
        AdaptationSession(checkpoint, Snapshots(tmp_path), EASY).snapshot()
    session = begun(checkpoint, tmp_path, review_every=10_000)
    with pytest.raises(ValueError, match="nothing has been learned"):
        session.snapshot()
    assert len(drive(session)) == 1
    found = session.snapshot()
    assert session.service.sha256 == found == Snapshots(tmp_path).hashes()[0]
    strict = begun(
        checkpoint, tmp_path / "b", review_every=10_000, guard=GuardOptions(9.0, -0.9, 9.0, least_held_out=1)
    )
    drive(strict)
    with pytest.raises(ValueError, match="refused: error on original examples"):
        strict.snapshot()
    waiting = strict.status()["waiting_reviews"]
    assert waiting > 0
    for _ in range(waiting + 1):  # as many reviews are due as before, whoever asks
        with pytest.raises(ValueError, match="it waits"):
            strict.snapshot()


def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        AdaptationSession(tmp_path / "nowhere.safetensors", Snapshots(tmp_path))


def test_the_one_in_service_is_never_removed(checkpoint, tmp_path):
    network, info = load_checkpoint(checkpoint)
    kept = Snapshots(tmp_path, keep=2)
    for _ in range(3):  # of the same weights one is enough
        first = kept.save(network, info, {})
    kept.serve(first.sha256)
    for number in range(4):
        with_number = dataclasses.replace(info, training={"number": number})
        network.decoder.head.bias.data[0] += 0.01
        kept.save(network, with_number, {})
    assert len(kept.paths()) == 3
    assert kept.find(first.sha256) == kept.paths()[0]
    assert kept.find("unknown") is None
    (tmp_path / "in_service.json").write_text("[1")
    assert kept.serving() == ""
    kept.paths()[-1].with_suffix(".json").write_text("{")
    assert len(kept.hashes()) == 2  # what cannot be read is no snapshot


def test_killed_fifty_times_nothing_that_was_kept_is_lost(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "test.core.adaptation.killed", str(tmp_path), "50"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 50
