"""How fast spikes are read from bags, and how much memory that takes: `python benchmarks/bags.py --gigabytes 10`.

A bag of random spike packets of a 400x250 camera at 20,000 planes/s is written, then read in a process of its own as
`replay` reads: record by record, decoded to `PackedSpikes` without a copy, into the ring. Beside it stands what the
machine takes to read the same file and do nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import SpikeRing

HEIGHT, WIDTH, PLANES, PERIOD_NS = 250, 400, 64, 50_000
PACKET_BYTES = PLANES * HEIGHT * WIDTH // 8
REAL_TIME = 1e9 / PERIOD_NS * HEIGHT * WIDTH / 8  # bytes a second


def write(path: Path, gigabytes: float) -> float:
    """Write a bag; returns bytes a second."""
    rng = np.random.default_rng(0)
    kept = [rng.integers(0, 256, (PLANES, HEIGHT, WIDTH // 8), dtype=np.uint8) for _ in range(16)]
    count = max(1, int(gigabytes * 1e9 / PACKET_BYTES))
    begin = time.perf_counter()
    with BagWriter(path) as bag:
        for seq in range(count):
            spikes = PackedSpikes(kept[seq % 16], WIDTH, PERIOD_NS, seq * PLANES * PERIOD_NS)
            message = messages.spikes_to_message(spikes, seq, "spikes")
            bag.write("/spikes/packets", types.SPIKE_PACKET, message, spikes.end_ns)
    return count * PACKET_BYTES / (time.perf_counter() - begin)


def read(path: Path, how: str) -> dict[str, float]:
    """Read a bag, with a warm cache where it fits; returns bytes a second, by the wall's clock and of the processor's
    time, and the peak of the memory in bytes."""
    ring = SpikeRing(4096)
    begin, spent, size, first = time.perf_counter(), time.process_time(), 0, 0.0
    if how == "file":
        buffer = bytearray(1 << 20)
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                size += count
    else:
        for message in BagReader(path).messages():
            size += len(message.data)
            if how == "ring":
                content = message.decode()
                ring.add(messages.spikes_from_message(content), content.seq)
            if not first:  # what is loaded and compiled at the first message is not reading
                first, begin, spent, size = time.perf_counter() - begin, time.perf_counter(), time.process_time(), 0
    elapsed, busy = time.perf_counter() - begin, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "bytes_per_second": size / elapsed,
        "bytes_per_processor_second": size / busy,
        "peak_memory": peak,
        "first_message_s": first,
    }


def main() -> None:
    """Measure and print JSON, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of spikes in the bag")
    parser.add_argument("--folder", type=Path, help="where the bags go; a temporary folder by default")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--read", nargs=2, metavar=("BAG", "HOW"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read[0]), arguments.read[1])))
        return
    figures: dict[str, dict] = {"gigabytes": arguments.gigabytes, "real_time_bytes_per_second": REAL_TIME}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for suffix in (".mcap", ".db3"):
            path = Path(folder, f"spikes{suffix}")
            figures[suffix] = {"write_bytes_per_second": write(path, arguments.gigabytes)}
            for how in ("file", "messages", "ring"):
                command = [sys.executable, __file__, "--read", str(path), how]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                figures[suffix][how] = json.loads(done.stdout)
            path.unlink()
            for how in ("file", "messages", "ring"):
                speed, busy = (figures[suffix][how][f"bytes_per_{key}second"] for key in ("", "processor_"))
                peak = figures[suffix][how]["peak_memory"] / 1e6
                times = f"{speed / REAL_TIME:.1f} x real time, {busy / 1e9:.2f} GB a second of processor time"
                print(f"{suffix} {how}: {speed / 1e9:.2f} GB/s, {times}, peak {peak:.0f} MB")
            print(f"{suffix} write: {figures[suffix]['write_bytes_per_second'] / 1e9:.2f} GB/s")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
