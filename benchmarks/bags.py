"""How fast spikes are read from bags, and how much memory that takes: `python benchmarks/bags.py --gigabytes 10`.

A bag of random spike packets of a 400x250 camera at 20,000 planes/s is written, then read in a process of its own as
`replay` reads: record by record, decoded to `PackedSpikes` without a copy, into the ring. Beside it stands what the
machine takes to read the same file and do nothing.

With --cold the file is not cached before each reading. What other processes took the core for is told apart where the
kernel tells it (Linux), so that figures of a busy machine can be compared.
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


def queued_s() -> float:
    """How long this process has waited for a core; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def let_go(path: Path) -> None:
    """Have a file no longer cached."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path, how: str) -> dict[str, float]:
    """Read a bag; returns bytes a second, by the wall's clock with and without what other processes took the core for,
    and of the processor's time, how much of that was the kernel's, and the peak of the memory in bytes."""
    ring = SpikeRing(4096)
    begin, spent, queued, size, first = time.perf_counter(), os.times(), queued_s(), 0, 0.0
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
                first, begin = time.perf_counter() - begin, time.perf_counter()
                spent, queued, size = os.times(), queued_s(), 0
    elapsed, waited = time.perf_counter() - begin, queued_s() - queued
    kernel = os.times().system - spent.system
    busy = max(os.times().user - spent.user + kernel, 0.01)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "bytes_per_second": size / elapsed,
        "bytes_per_second_with_a_core": size / (elapsed - waited),
        "share_in_the_kernel": kernel / busy,
        "bytes_per_processor_second": size / busy,
        "peak_memory": peak,
        "first_message_s": first,
    }


def measure(path: Path, cold: bool) -> dict[str, dict[str, float]]:
    """Read a bag in each way, in processes of their own, and print what came of it."""
    found = {}
    for how in ("file", "messages", "ring"):
        if cold:
            let_go(path)
        command = [sys.executable, __file__, "--read", str(path), how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[how] = json.loads(done.stdout)
        names = ("", "processor_")
        speed, busy = (found[how][f"bytes_per_{key}second"] for key in names)
        alone = found[how]["bytes_per_second_with_a_core"]
        times = f"with a core to itself {alone / 1e9:.2f} GB/s, {alone / REAL_TIME:.1f} x real time"
        times += (
            f"; {busy / 1e9:.2f} GB a second of processor time, {found[how]['share_in_the_kernel']:.0%} the kernel's"
        )
        print(f"{path.suffix} {how}: {speed / 1e9:.2f} GB/s; {times}; peak {found[how]['peak_memory'] / 1e6:.0f} MB")
    return found


def main() -> None:
    """Measure and print JSON, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of spikes in the bag")
    parser.add_argument("--folder", type=Path, help="where the bags go; a temporary folder by default")
    parser.add_argument("--bag", type=Path, help="measure this one instead of writing any")
    parser.add_argument("--cold", action="store_true", help="do not let the bag be cached before it is read")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--read", nargs=2, metavar=("BAG", "HOW"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read[0]), arguments.read[1])))
        return
    figures: dict[str, dict] = {"real_time_bytes_per_second": REAL_TIME, "cold": arguments.cold}
    if arguments.bag:
        figures["gigabytes"] = arguments.bag.stat().st_size / 1e9
        figures[arguments.bag.suffix] = measure(arguments.bag, arguments.cold)
    else:
        figures["gigabytes"] = arguments.gigabytes
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for suffix in (".mcap", ".db3"):
                path = Path(folder, f"spikes{suffix}")
                speed = write(path, arguments.gigabytes)
                print(f"{suffix} write: {speed / 1e9:.2f} GB/s")
                figures[suffix] = {"write_bytes_per_second": speed} | measure(path, arguments.cold)
                path.unlink()
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
