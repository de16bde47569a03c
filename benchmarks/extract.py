"""How fast bags become training data, what limits that, and how much memory it takes: `python benchmarks/extract.py`.

A synthetic bag is written (random spike packets of a 400x250 camera at 20,000 planes/s, RGB, depth and odometry at
30 Hz) and extracted in a process of its own, as one worker of `spike-depth extract` does it. Beside it stands what the
parts of that work take alone: reading the file, playing the bag without keeping anything, making and writing samples.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.bags.playback import Playback, PlayedMoment, rig_of_bag
from spike_depth_core.bags.recording import drive_metadata
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.resources import config_path
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.samples.shards import list_members
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Timing
from spike_depth_core.training.extracted import ExtractedSet
from spike_depth_core.training.extraction import extract_unit, plan_extraction
from spike_depth_core.training.manifest import ExtractionOptions

PLANES, PERIOD_NS, FRAME_NS = 64, 50_000, 33_333_333
RATE_HZ = 10.0


def write(path: Path, gigabytes: float) -> float:
    """Write a bag of so many gigabytes of spikes; returns its seconds."""
    rng = np.random.default_rng(0)
    whole = SensorRig.load(config_path("rigs/vehicle.yaml"))
    rig = SensorRig({s: whole.cameras[s] for s in ("spikes", "rgb")}, {"rgb": whole.reference_from("rgb")}, height=1.65)
    camera, colour = rig.cameras["spikes"], rig.cameras["rgb"]
    packets = [rng.integers(0, 256, (PLANES, camera.height, camera.width // 8), dtype=np.uint8) for _ in range(16)]
    pictures = [rng.integers(0, 256, (colour.height, colour.width, 3), dtype=np.uint8) for _ in range(16)]
    depth = rng.uniform(2, 80, (camera.height, camera.width)).astype(np.float32)
    count = max(1, int(gigabytes * 1e9 / packets[0].nbytes))
    spikes_frame, colour_frame, frame = "spikes_optical_frame", "rgb_optical_frame", 1
    with BagWriter(path, custom=drive_metadata(rig, {"condition": "day"})) as bag:

        def image(topic: str, pixels: np.ndarray, encoding: str, frame_id: str, time_ns: int, now_ns: int) -> None:
            bag.write(topic, types.IMAGE, messages.image_to_message(pixels, encoding, time_ns, frame_id), now_ns)

        for seq in range(count):
            start_ns = 10**18 + seq * PLANES * PERIOD_NS
            spikes = PackedSpikes(packets[seq % 16], camera.width, PERIOD_NS, start_ns)
            if seq % 10 == 0:
                info = messages.camera_to_message(camera, start_ns, spikes_frame)
                bag.write("/spikes/camera_info", types.CAMERA_INFO, info, start_ns)
            packet = messages.spikes_to_message(spikes, seq, spikes_frame)
            bag.write("/spikes/packets", types.SPIKE_PACKET, packet, spikes.end_ns)
            while 10**18 + frame * FRAME_NS <= spikes.end_ns:
                time_ns = 10**18 + frame * FRAME_NS
                info = messages.camera_to_message(colour, time_ns, colour_frame)
                bag.write("/rgb/camera_info", types.CAMERA_INFO, info, spikes.end_ns)
                image("/rgb/image_raw", pictures[frame % 16], "rgb8", colour_frame, time_ns, spikes.end_ns)
                image("/truth/depth/image_rect", depth, "32FC1", spikes_frame, time_ns, spikes.end_ns)
                place = pose((0.0, 0.0, 0.3 * frame))
                odometry = messages.odometry_to_message(place, time_ns, "odom", spikes_frame)
                bag.write("/odometry", types.ODOMETRY, odometry, spikes.end_ns)
                frame += 1
    return count * PLANES * PERIOD_NS / 1e9


def play(path: Path) -> int:
    """Play a bag and keep nothing; returns how many moments there were."""
    bag = BagReader(path)
    timing = Timing(interval_ns=round(1e9 / RATE_HZ))
    playback = Playback(bag, find_sensors(bag), rig_of_bag(bag), 256, timing)
    others = ("/truth/depth/image_rect", "/odometry")
    return sum(isinstance(event, PlayedMoment) for event in playback.play(others))


def read_file(path: Path) -> int:
    """Read a file and do nothing."""
    buffer, size = bytearray(1 << 20), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            size += count
    return size


def extract(path: Path, out: Path) -> int:
    """All of `spike-depth extract` but its tables; returns how many samples there are."""
    options = ExtractionOptions(rate_hz=RATE_HZ, shares=(1, 0, 0))
    return sum(extract_unit(job)["samples"] for job in plan_extraction([path], out, options))


def read_back(out: Path) -> int:
    """Read all samples as a training does."""
    found = ExtractedSet(out)
    return sum(load_sample(p) is not None for folder in found.folders("train") for p in list_samples(folder))


def measured(how: str, path: Path, out: Path) -> dict[str, float]:
    """Seconds by the wall's clock and of the processor, and the peak of the memory in bytes, of one part."""
    work = {
        "file": lambda: read_file(path),
        "play": lambda: play(path),
        "extract": lambda: extract(path, out),
        "read": lambda: read_back(out),
    }[how]
    begin, spent = time.perf_counter(), time.process_time()
    count = work()
    return {
        "count": count,
        "seconds": time.perf_counter() - begin,
        "processor_seconds": time.process_time() - spent,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    """Measure and print, or write JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of spikes in the bag")
    parser.add_argument("--folder", type=Path, help="where bag and shards go; a temporary folder by default")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--part", nargs=3, metavar=("HOW", "BAG", "DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        how, bag, out = arguments.part
        print(json.dumps(measured(how, Path(bag), Path(out))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path, out = Path(folder, "drive.mcap"), Path(folder, "set")
        seconds = write(path, arguments.gigabytes)
        size = path.stat().st_size
        figures: dict = {"gigabytes": arguments.gigabytes, "bag_seconds": seconds, "bag_bytes": size}
        for how in ("file", "play", "extract", "read"):
            command = [sys.executable, __file__, "--part", how, str(path), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            part = figures[how] = json.loads(done.stdout)
            speed = size / part["seconds"] / 1e6
            share = part["processor_seconds"] / part["seconds"]
            print(
                f"{how}: {part['seconds']:.1f} s, {share:.0%} of it computing; {speed:,.0f} MB of bag a second, "
                f"{seconds / part['seconds']:.1f} x real time, peak {part['peak_memory'] / 1e6:.0f} MB"
            )
        shards = list(ExtractedSet(out).shards())
        written = sum(shard["size"] for shard in shards)
        samples = figures["extract"]["count"]
        assert samples == sum(len(list_members(out / shard["path"])) for shard in shards)
        figures |= {"shard_bytes": written, "samples": samples, "cores": os.cpu_count()}
        rate = samples / figures["extract"]["seconds"]
        print(f"{samples} samples, {written / 1e9:.3f} GB: {rate:.1f} a second, {written / samples / 1e6:.2f} MB each")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
