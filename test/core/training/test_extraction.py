"""Bags to shards: the moments of a whole playback, each once; the same bytes however often the work is killed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spike_depth_core.bags import BagReader, messages, types
from spike_depth_core.bags.playback import Playback, PlayedMoment, rig_of_bag
from spike_depth_core.bags.recording import drive_metadata
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.geometry.projection import carry_depth
from spike_depth_core.inference.moments import sample_from_moment
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training.extracted import ExtractedSet
from spike_depth_core.training.extraction import extract_unit, is_done, only_one, plan_extraction
from spike_depth_core.training.filters import Limits
from spike_depth_core.training.manifest import Extraction, ExtractionOptions
from test.core.bags.recordings import (
    FRAME_NS,
    START_NS,
    small_recording,
    write_compressed_files,
    write_killed_recording,
    write_recording,
)
from test.core.factories import ground_depth
from test.core.training.drives import RIG, SPEED, frame_times, recorded_drive, write_drive

ALL = ExtractionOptions(planes=64, rate_hz=0.0, shares=(1, 0, 0), block_s=0.25)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return write_drive(tmp_path_factory.mktemp("drive") / "drive.mcap")


def extracted(bags, out, options=ALL) -> ExtractedSet:
    for job in plan_extraction(bags if isinstance(bags, list) else [bags], out, options):
        extract_unit(job)
    found = ExtractedSet(out)
    found.check_complete()
    return found


def samples_of(found: ExtractedSet, split: str = "train"):
    return [load_sample(member) for folder in found.folders(split) for member in list_samples(folder)]


def checksums(folder: Path) -> dict[str, str]:
    return {shard["path"]: shard["sha256"] for shard in ExtractedSet(folder).shards()}


def test_the_parts_of_a_bag_give_the_moments_of_the_whole(bag, tmp_path):
    found = extracted(bag, tmp_path / "set")
    assert len(found.reports) == 4
    reader = BagReader(bag)
    playback = Playback(reader, find_sensors(reader), rig_of_bag(reader), 64)
    moments = [event.moment for event in playback.play() if isinstance(event, PlayedMoment)]
    samples = samples_of(found)
    assert [s.time_ns for s in samples] == [m.time_ns for m in moments] == frame_times(1.0).tolist()
    for sample, moment in zip(samples, moments, strict=True):
        expected = sample_from_moment(moment, playback.rig, playback.cameras)
        np.testing.assert_array_equal(sample.spikes.data, expected.spikes.data)
        np.testing.assert_array_equal(sample.rgb, expected.rgb)
        assert sample.rig.cameras == expected.rig.cameras
        np.testing.assert_allclose(sample.rig.reference_from("rgb"), expected.rig.reference_from("rgb"), atol=1e-9)


def test_truth_and_poses_come_with_the_samples(bag, tmp_path):
    samples = samples_of(extracted(bag, tmp_path / "set"))
    truth = ground_depth(RIG.cameras["spikes"])
    seen = truth < 60_000
    from_rgb = carry_depth(truth, RIG.cameras["spikes"], RIG.cameras["rgb"], RIG.transform("rgb", "spikes"))
    for sample in samples:
        np.testing.assert_allclose(sample.depth["spikes"][seen], truth[seen], rtol=5e-4)
        np.testing.assert_array_equal(np.isnan(sample.depth["rgb"]), np.isnan(from_rgb))
        metres = SPEED * max(0.0, 1e-9 * (sample.time_ns - START_NS) - 0.5)
        np.testing.assert_allclose(sample.world_from_reference[:3, 3], [1.0, 0.0, metres], atol=1e-6)
        assert sample.meta["condition"] == "day"
    assert samples[-2].meta["speed"] == pytest.approx(SPEED)
    assert samples[2].meta["speed"] == 0.0


@pytest.mark.parametrize("by_ns", [3_600_000_000_000, -37_000_000_000])
def test_a_bag_that_was_received_at_another_time_keeps_its_truth_and_poses(bag, tmp_path, by_ns):
    moved = [(topic, kind, message, time_ns + by_ns) for topic, kind, message, time_ns in recorded_drive()]
    custom = drive_metadata(RIG, {"condition": "day"})
    found = extracted(write_recording(tmp_path / "moved.mcap", moved, custom=custom), tmp_path / "moved")
    for sample, expected in zip(samples_of(found), samples_of(extracted(bag, tmp_path / "set")), strict=True):
        assert sample.time_ns == expected.time_ns
        assert set(sample.depth) == {"spikes", "rgb"}
        np.testing.assert_array_equal(sample.depth["rgb"], expected.depth["rgb"])
        np.testing.assert_array_equal(sample.world_from_reference, expected.world_from_reference)


def test_frames_of_a_sequence_follow_one_another(bag, tmp_path):
    gone = {8, 9, 10}  # of 29 frames, with nothing else to make a moment of

    def kept(topic, message) -> bool:
        return "rgb" not in topic or (messages.stamp_ns(message) - START_NS) // FRAME_NS not in gone

    drive = [w for w in recorded_drive() if kept(w[0], w[2])]
    options = dataclasses.replace(ALL, block_s=60.0, most_apart_s=0.1)
    samples = samples_of(extracted(write_recording(tmp_path / "a.mcap", drive), tmp_path / "set", options))
    runs: dict[str, list[int]] = {}
    for sample in samples:
        runs.setdefault(sample.meta["sequence"], []).append(sample.time_ns)
        assert sample.meta["frame"] == len(runs[sample.meta["sequence"]]) - 1
    assert [len(times) for times in runs.values()] == [7, 19]


def test_filters_count_what_they_drop(tmp_path):
    drive = recorded_drive()
    for i, (topic, kind, message, time_ns) in enumerate(drive):
        frame = (messages.stamp_ns(message) - START_NS) // FRAME_NS if "rgb/image" in topic else None
        if frame in (20, 21):  # blinded
            white = np.full((40, 64, 3), 255, np.uint8)
            message = messages.image_to_message(white, "rgb8", messages.stamp_ns(message), "rgb_optical_frame")
        if frame == 25:  # lost
            message = None
        drive[i] = (topic, kind, message, time_ns)
    path = write_recording(tmp_path / "a.mcap", [w for w in drive if w[2] is not None])
    options = dataclasses.replace(ALL, limits=Limits(speed=1.0))
    found = extracted(path, tmp_path / "set", options)
    # The vehicle stands until frame 15; where it drives off, the speed is that of the step before.
    standing = found.dropped()["standing"]
    assert 14 <= standing <= 16
    assert found.dropped() == {"standing": standing, "exposure_rgb": 2}
    counted = Counter({name: sum(report[name] for report in found.reports) for name in ("moments", "samples")})
    assert counted["moments"] == 28
    assert counted["samples"] == 28 - standing - 2
    off = extracted(path, tmp_path / "off", dataclasses.replace(ALL, limits=Limits(clipped=1.0)))
    assert off.dropped() == {}


def test_what_is_out_of_step_or_does_not_change_is_dropped(tmp_path):
    still = recorded_drive()
    first = next(w[2] for w in still if w[1] == types.IMAGE and "rgb" in w[0])
    pixels = messages.image_from_message(first)
    for i, (topic, kind, message, time_ns) in enumerate(still):
        if "rgb/image" in topic:
            stamp = messages.stamp_ns(message)
            still[i] = (topic, kind, messages.image_to_message(pixels, "rgb8", stamp, "rgb_optical_frame"), time_ns)
    path = write_recording(tmp_path / "a.mcap", [w for w in still if w[1] != types.SPIKE_PACKET])
    options = dataclasses.replace(ALL, limits=Limits(change=0.01), sensors=("rgb",), block_s=60.0)
    assert extracted(path, tmp_path / "still", options).dropped() == {"unchanged": 28}
    # The planes that end before a frame do so within a packet's length of it.
    options = dataclasses.replace(ALL, limits=Limits(sync_s=1e-6))
    dropped = extracted(write_drive(tmp_path / "b.mcap"), tmp_path / "late", options).dropped()
    assert set(dropped) == {"sync_spikes"}


def test_drives_and_blocks_stay_apart(tmp_path):
    bags = [write_drive(tmp_path / f"drive{i}.mcap", 0.3, i) for i in range(4)]
    found = extracted(bags, tmp_path / "drives", dataclasses.replace(ALL, shares=(0.5, 0.25, 0.25)))
    drives = {split: total.bags for split, total in found.totals().items()}
    assert sorted(map(len, drives.values())) == [1, 1, 2]
    assert set.union(*drives.values()) == {"drive0", "drive1", "drive2", "drive3"}
    assert sum(len(names) for names in drives.values()) == 4
    long = write_drive(tmp_path / "long.mcap", 2.0)
    options = dataclasses.replace(ALL, split="block", shares=(0.5, 0.25, 0.25), block_s=0.4, gap_s=0.1)
    found = extracted(long, tmp_path / "blocks", options)
    times = {split: [s.time_ns for s in samples_of(found, split)] for split in ("train", "validation", "test")}
    for split, own in times.items():
        others = np.array([t for other, ts in times.items() if other != split for t in ts])
        assert min(np.abs(others - t).min() for t in own) > 0.09e9, split


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(bag, tmp_path):
    """A process is killed at each write, rename or sync that it makes, one further every time."""
    whole = extracted(bag, tmp_path / "whole", dataclasses.replace(ALL, shard_mb=0.02))
    plan_extraction([bag], tmp_path / "killed", dataclasses.replace(ALL, shard_mb=0.02))
    script = """
import os, signal, sys
from spike_depth_core.training import extraction
from spike_depth_core.training.manifest import Extraction
folder = sys.argv[1]

def work(left):
    def watch(event, arguments):
        nonlocal left
        inside = any(str(argument).startswith(folder) for argument in arguments)
        if inside and (event == "os.rename" or event == "open" and "w" in str(arguments[1])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    with extraction.only_one(folder):
        for job in Extraction.load(folder).jobs(folder)[:2]:
            extraction.extract_unit(job)

for steps in (1, 2, 4, 7):
    child = os.fork()  # all that is slow is imported once
    if not child:
        work(steps)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""
    command = [sys.executable, "-c", script, str(tmp_path / "killed")]
    done = subprocess.run(command, check=True, timeout=300, capture_output=True, text=True)
    assert done.stdout.split().count(str(-signal.SIGKILL)) >= 3, done.stderr
    extracted(bag, tmp_path / "killed", dataclasses.replace(ALL, shard_mb=0.02))
    assert checksums(tmp_path / "killed") == checksums(tmp_path / "whole")
    assert len(checksums(tmp_path / "whole")) > len(whole.reports)
    with only_one(tmp_path / "killed"):
        pass
    files = {str(p.relative_to(tmp_path / "killed")) for p in (tmp_path / "killed").rglob("*.tar")}
    assert files == set(checksums(tmp_path / "killed"))
    assert not [p for p in (tmp_path / "killed").rglob("*.partial")]
    assert not [wrong for _, wrong in ExtractedSet(tmp_path / "killed").damaged() if wrong]


def test_two_do_not_extract_into_one_folder(bag, tmp_path):
    plan_extraction([bag], tmp_path / "set", ALL)
    refused = pytest.raises(ValueError, match="another process extracts into")
    with only_one(tmp_path / "set"), refused, only_one(tmp_path / "set"):
        pass


def test_another_plan_is_refused(bag, tmp_path):
    jobs = plan_extraction([bag], tmp_path / "set", ALL)
    assert plan_extraction([bag], tmp_path / "set", ALL) == jobs
    with pytest.raises(ValueError, match=r"was begun with rate_hz 0.0, and is now asked for with 5.0"):
        plan_extraction([bag], tmp_path / "set", dataclasses.replace(ALL, rate_hz=5.0))
    other = write_drive(tmp_path / "other.mcap", 0.3)
    with pytest.raises(ValueError, match="was begun with other bags: drive"):
        plan_extraction([other], tmp_path / "set", ALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="holds something else already"):
        plan_extraction([bag], tmp_path / "full", ALL)


def test_bags_that_were_moved_are_found_where_they_are_now(tmp_path):
    bags = [write_drive(tmp_path / f"{name}.mcap", 0.3, seed) for seed, name in enumerate(("a", "b"))]
    extracted(bags, tmp_path / "whole")
    extract_unit(plan_extraction(bags, tmp_path / "set", ALL)[0])
    (tmp_path / "elsewhere").mkdir()
    moved = [bag.rename(tmp_path / "elsewhere" / f"{number}.mcap") for number, bag in enumerate(bags)]
    extracted(moved[::-1], tmp_path / "set")
    assert checksums(tmp_path / "set") == checksums(tmp_path / "whole")


def test_a_bag_that_cannot_be_read_is_left_out_and_told(tmp_path):
    bag, damaged, empty = write_drive(tmp_path / "a.mcap", 0.3), tmp_path / "b.mcap", tmp_path / "c.mcap"
    lost = write_drive(tmp_path / "d.mcap", 0.3, seed=1)
    damaged.write_bytes(b"\x89MCAP0\r\n" + 50 * b"garbage")
    empty.touch()
    told: list[str] = []
    bags = [damaged, bag, empty, lost]
    jobs = plan_extraction(bags, tmp_path / "set", ALL, told.append)
    assert [job.recording.name for job in jobs] == ["a", "d"]
    assert ["b.mcap" in told[0], "c.mcap" in told[1], len(told)] == [True, True, 2]
    with pytest.raises(ValueError, match=r"b\.mcap"):
        plan_extraction(bags, tmp_path / "set", ALL)
    with pytest.raises(ValueError, match=r"c\.mcap"):
        plan_extraction([empty, damaged], tmp_path / "other", ALL, told.append)
    lost.unlink()  # in the plan, and gone: its parts alone fail
    assert plan_extraction(bags, tmp_path / "set", ALL, told.append) == jobs
    assert extract_unit(jobs[0])["samples"]
    with pytest.raises(ValueError, match=r"d\.mcap is no longer the bag"):
        extract_unit(jobs[1])


def test_another_rig_under_the_same_name_is_refused(bag, tmp_path):
    options = dataclasses.replace(ALL, rig=str(tmp_path / "rig.yaml"))
    RIG.save(tmp_path / "rig.yaml")
    plan_extraction([bag], tmp_path / "set", options)
    dataclasses.replace(RIG, height=2.0).save(tmp_path / "rig.yaml")
    with pytest.raises(ValueError, match="was begun with another rig of drive"):
        plan_extraction([bag], tmp_path / "set", options)


def test_a_part_needs_nothing_but_its_description(bag, tmp_path):
    """What of the whole each part would read costs the square of their number."""
    extracted(bag, tmp_path / "whole")
    jobs = plan_extraction([bag], tmp_path / "set", ALL)
    (tmp_path / "set" / "manifest.json").rename(tmp_path / "manifest.json")
    for job in jobs:
        assert not is_done(job)
        extract_unit(job)
        assert is_done(job)
    (tmp_path / "manifest.json").rename(tmp_path / "set" / "manifest.json")
    assert checksums(tmp_path / "set") == checksums(tmp_path / "whole")


def test_blocks_of_compressed_files_are_those_of_the_whole_drive(tmp_path):
    """Of which the first alone is opened, for what the others take: their times come from metadata.yaml."""
    drive = recorded_drive(2.0)
    options = dataclasses.replace(ALL, split="block", shares=(0.5, 0.25, 0.25), block_s=0.4, gap_s=0.1)
    custom = drive_metadata(RIG, {"condition": "day"})
    whole = extracted(write_recording(tmp_path / "drive.mcap", drive, custom=custom), tmp_path / "whole", options)
    parts = write_compressed_files(tmp_path / "drive", drive, 4, custom=custom)
    found = extracted(parts, tmp_path / "set", options)
    assert found.plan.units == whole.plan.units
    assert checksums(tmp_path / "set") == checksums(tmp_path / "whole")


@pytest.mark.parametrize("name", ["cut.db3", "no metadata"])
def test_blocks_of_a_bag_whose_end_is_not_known_are_refused(tmp_path, name):
    drive = small_recording(1.0, rig=RIG)
    if name == "cut.db3":
        path = write_recording(tmp_path / name, drive)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path = write_compressed_files(tmp_path / name, drive, 3)
        (path / "metadata.yaml").unlink()
    options = dataclasses.replace(ALL, split="block", block_s=0.1, gap_s=0.0)
    with pytest.raises(ValueError, match=r"it is not known where .* ends.*: split by drives"):
        plan_extraction([path], tmp_path / "set", options)
    assert not (tmp_path / "set").exists()
    assert samples_of(extracted(path, tmp_path / "set"))


def test_what_is_not_read_of_a_bag_does_not_change_it(tmp_path):
    """SQLite leaves a `-shm` beside the journal of a killed recording, and people leave notes."""
    bag = write_killed_recording(tmp_path / "killed", recorded_drive(0.3))
    whole = dataclasses.replace(ALL, block_s=60.0)
    jobs = plan_extraction([bag], tmp_path / "set", whole)
    assert (bag / "killed.db3-shm").exists()
    (bag / "notes.txt").write_text("rain from the second minute on")
    assert plan_extraction([bag], tmp_path / "set", whole) == jobs
    copy = tmp_path / "copy"
    shutil.copytree(bag, copy, ignore=shutil.ignore_patterns("*-shm"))
    (job,) = plan_extraction([copy], tmp_path / "set", whole)
    assert extract_unit(job)["samples"]


def test_a_journal_is_of_the_bag_beside_which_it_lies(tmp_path):
    bag = write_killed_recording(tmp_path / "killed", recorded_drive(0.3)) / "killed.db3"
    (job,) = plan_extraction([bag], tmp_path / "set", dataclasses.replace(ALL, block_s=60.0))
    journal = bag.with_name(f"{bag.name}-wal")
    journal.write_bytes(journal.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"killed\.db3 is no longer the bag"):
        extract_unit(job)


def test_a_bag_that_has_changed_is_refused(tmp_path):
    path = write_drive(tmp_path / "a.mcap", 0.3)
    (job, *_) = plan_extraction([path], tmp_path / "set", ALL)
    path.unlink()
    write_drive(path, 0.3, seed=1)
    with pytest.raises(ValueError, match=r"a\.mcap is no longer the bag"):
        extract_unit(job)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensors": ("thermal",)}, "has no thermal; it has spikes, rgb"),
        ({"truth": "/lidar"}, "no depth images or points on /lidar"),
        ({"odometry": "/gps"}, "no odometry on /gps; it has /odometry"),
        ({"shares": (0.8, 0.1, 0.1)}, "1 drives cannot be shared"),
    ],
)
def test_what_a_bag_lacks_is_named_before_anything_is_written(bag, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        plan_extraction([bag], tmp_path / "set", dataclasses.replace(ALL, **changes))
    assert not (tmp_path / "set").exists()


def test_damage_to_a_data_set_is_told(bag, tmp_path):
    found = extracted(bag, tmp_path / "set")
    path = tmp_path / "set" / next(found.shards())["path"]
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    wrong = [text for _, text in found.damaged() if text]
    assert len(wrong) == 1
    assert "its sha256 is" in wrong[0]
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"has {len(content) - 1:,} bytes, expected {len(content):,}"):
        ExtractedSet(tmp_path / "set").check_complete()
    path.unlink()
    with pytest.raises(ValueError, match="is missing, expected"):
        ExtractedSet(tmp_path / "set").check_complete()
    for report in ("[]", "{}", "[" * 100_000):
        (tmp_path / "set" / "units" / "000-0001.json").write_text(report)
        with pytest.raises(ValueError, match=r"000-0001\.json cannot be understood: .*; without it the same"):
            ExtractedSet(tmp_path / "set")
    (tmp_path / "set" / "units" / "000-0001.json").unlink()
    with pytest.raises(ValueError, match="is not complete: 3 of 4 parts are done"):
        ExtractedSet(tmp_path / "set").check_complete()
    (tmp_path / "set" / "manifest.json").write_text(json.dumps({"spike_depth_extraction": 9}))
    with pytest.raises(ValueError, match="expected an extraction of version 1, found 9"):
        ExtractedSet(tmp_path / "set")
    with pytest.raises(ValueError, match="has no manifest"):
        Extraction.load(tmp_path)
