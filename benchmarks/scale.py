"""What a second of drive costs a core, and what a fleet's recordings would: `python benchmarks/scale.py`.

A bag of random spikes, RGB and thermal frames and depth, of the vehicle's sizes and rates, is played, evaluated with
the shipped checkpoint (each moment, 30 a second) and extracted (10 samples a second), each in a process of its own with
one thread. What counts is the processor's time: it is nearly the same on a busy machine. docs/scale.md is made of these
figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from spike_depth_core.bags import BagReader, BagWriter
from spike_depth_core.bags.playback import Playback, rig_of_bag
from spike_depth_core.bags.recording import drive_metadata, record_drive
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.evaluation.bags import BagJob, BagOptions, evaluate_bag
from spike_depth_core.geometry import SensorRig
from spike_depth_core.networks.checkpoint import read_info
from spike_depth_core.resources import config_path, default_checkpoint
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.training.extraction import extract_unit, plan_extraction
from spike_depth_core.training.manifest import ExtractionOptions

PERIOD_NS, RATE_HZ = 50_000, 30.0
PETABYTE = 1e15
PARTS = ("play", "evaluate", "extract")


class RandomDrive:
    """Answers as `DrivePlayer` does, with noise."""

    rate_hz, sensors = RATE_HZ, ("rgb", "thermal")

    def __init__(self, rig: SensorRig, seconds: float):
        rng = np.random.default_rng(0)
        camera = rig.cameras["spikes"]
        self.frame_count = int(seconds * RATE_HZ)
        self._left, self._first, self._width = round(seconds * 1e9 / PERIOD_NS), 0, camera.width
        self._planes = rng.integers(0, 256, (1024, camera.height, camera.width // 8), dtype=np.uint8)
        sizes = {s: (rig.cameras[s].height, rig.cameras[s].width) for s in self.sensors}
        self._images = {
            "rgb": rng.integers(0, 256, (*sizes["rgb"], 3), dtype=np.uint8),
            "thermal": rng.integers(28_000, 31_000, sizes["thermal"]).astype(np.uint16),
        }
        self._depth = rng.uniform(2, 80, (camera.height, camera.width)).astype(np.float32)

    def planes(self, count: int) -> PackedSpikes:
        count = min(count, self._left - self._first)
        at = self._first % (len(self._planes) - count)
        spikes = PackedSpikes(self._planes[at : at + count], self._width, PERIOD_NS, self._first * PERIOD_NS)
        self._first += count
        return spikes

    def frame_time_ns(self, frame: int) -> int:
        return round(frame * 1e9 / RATE_HZ)

    def image(self, sensor: str, frame: int) -> np.ndarray:
        return self._images[sensor]

    def depth(self, frame: int) -> np.ndarray:
        return self._depth


def write(path: Path, seconds: float) -> None:
    """Write the bag."""
    rig = SensorRig.load(config_path("rigs/vehicle.yaml"))
    with BagWriter(path, custom=drive_metadata(rig, {"condition": "day"})) as bag:
        for _ in record_drive(RandomDrive(rig, seconds), rig, bag):
            pass


def work(part: str, path: Path, out: Path) -> int:
    """One part; returns how many moments or samples there were."""
    if part == "play":
        bag = BagReader(path)
        return sum(1 for _ in Playback(bag, find_sensors(bag), rig_of_bag(bag), 256).play())
    if part == "evaluate":
        job = BagJob(str(path), None, "A", read_info(default_checkpoint()).sha256, BagOptions())
        return len(evaluate_bag(job)["times_ns"])
    options = ExtractionOptions(rate_hz=10.0, shares=(1, 0, 0))
    return sum(extract_unit(job)["samples"] for job in plan_extraction([path], out, options))


def measured(part: str, path: Path, warm_up: Path, out: Path) -> dict[str, float]:
    """Processor seconds and peak memory of a part, after it has been done once on a short bag."""
    torch.set_num_threads(1)
    work(part, warm_up, out / "warm")
    spent = os.times()
    count = work(part, path, out / "set")
    now = os.times()
    return {
        "count": count,
        "processor_seconds": now.user + now.system - spent.user - spent.system,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    """Measure and print, or write JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of drive in the bag")
    parser.add_argument("--folder", type=Path, help="where the bag goes; a temporary folder by default")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--part", nargs=4, metavar=("PART", "BAG", "SHORT", "DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part, *paths = arguments.part
        print(json.dumps(measured(part, *map(Path, paths))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path, short = Path(folder, "drive.mcap"), Path(folder, "short.mcap")
        write(path, arguments.seconds)
        write(short, 0.2)
        size = path.stat().st_size
        figures: dict = {"seconds": arguments.seconds, "bytes_a_second": size / arguments.seconds}
        hours = PETABYTE / figures["bytes_a_second"] / 3600
        print(f"{figures['bytes_a_second'] / 1e6:.0f} MB a second of drive; a petabyte is {hours:,.0f} hours of it")
        for part in PARTS:
            command = [sys.executable, __file__, "--part", part, str(path), str(short), str(Path(folder, part))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = figures[part] = json.loads(done.stdout)
            cost = found["core_seconds_a_second"] = found["processor_seconds"] / arguments.seconds
            found["core_hours_a_petabyte"] = cost * hours
            print(
                f"{part}: {found['count']} moments or samples; {cost:.3f} s of a core for a second of drive, "
                f"{figures['bytes_a_second'] / cost / 1e6:,.0f} MB a second and core, {cost * hours:,.0f} core hours "
                f"for a petabyte; peak {found['peak_memory'] / 1e6:.0f} MB"
            )
        shards = [p for p in Path(folder, "extract", "set").rglob("*.tar")]
        figures["extract"]["bytes_a_second"] = sum(p.stat().st_size for p in shards) / arguments.seconds
        print(f"shards: {figures['extract']['bytes_a_second'] / 1e6:.1f} MB for a second of drive")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
