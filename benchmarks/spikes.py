"""The speed of the spike arithmetic on one core, beside that of others in the same run.

    python benchmarks/spikes.py --out docs/results

writes `spikes.json` and `spikes.md`. The other implementations are re-typed in NumPy from what their code
does to each bit, without its file reading and its loops in Python around it, so that they are shown at their
best. Each result is checked against every other before anything is timed. Less than a minute.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import llvmlite.binding
import numba
import numpy as np
import typer

from spike_depth_core.cli.console import print_table
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.spikes import (
    NETWORK_WINDOW,
    PackedSpikes,
    RealtimeSpikeCamera,
    interval_image,
    network_input,
    spike_counts,
)
from spike_depth_core.whole_files import write_json

HEIGHT, WIDTH = 250, 400
PLANES, REACH = 512, 128

OURS = "this package"
NUMPY_PACKED = "NumPy, carry-save adders on packed words"
UNPACKBITS = "numpy.unpackbits, then sum / scan"
SPIKECV = "SpikeCV's TFP / TFI, planes already unpacked"
SPIKECV_LOADER = "SpikeCV's loader (table of indices)"


def scene() -> PackedSpikes:
    """Spikes of a picture with all rates from 0.002 to 1, which moves."""
    camera = RealtimeSpikeCamera(HEIGHT, WIDTH, seed=1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    parts = []
    for level in range(PLANES // 16):
        wave = 0.5 + 0.5 * np.sin((columns + level) / 9) * np.sin(rows / 7)
        parts.append(camera.expose((0.002 * 500**wave).astype(np.float32), 16))
    return PackedSpikes.concatenate(parts)


def counts_numpy_packed(data: np.ndarray) -> np.ndarray:
    """Counts by a tree of full adders over whole planes of 64-bit words."""
    planes = len(data)
    flat = data.reshape(planes, -1)
    words = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8))).view(np.uint64)
    weights: list[list[np.ndarray]] = [[words]]
    total = np.zeros((HEIGHT, WIDTH), np.uint16)
    digit = 0
    while digit < len(weights):
        stack = np.concatenate(weights[digit])
        while len(stack) > 1:
            third = len(stack) // 3
            if third:
                a, b, c = stack[:third], stack[third : 2 * third], stack[2 * third : 3 * third]
                half = a ^ b
                carry = (a & b) | (half & c)
                stack = np.concatenate([half ^ c, stack[3 * third :]])
            else:
                carry = stack[:1] & stack[1:]
                stack = stack[:1] ^ stack[1:]
            if digit + 1 == len(weights):
                weights.append([])
            weights[digit + 1].append(carry)
        bits = stack[0].view(np.uint8)[: flat.shape[1]].reshape(HEIGHT, -1)
        total += np.unpackbits(bits, axis=1, bitorder="little").astype(np.uint16) << digit
        digit += 1
    return total


def unpack(data: np.ndarray) -> np.ndarray:
    return np.unpackbits(data, axis=2, count=WIDTH, bitorder="little")


def load_by_indices(data: np.ndarray) -> np.ndarray:
    """Planes as SpikeCV's loader makes them: an index and a comparator for every pixel, a gather a plane."""
    pixels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    comparator = np.left_shift(1, np.mod(pixels, 8))
    byte_of = pixels // 8
    flat = data.reshape(len(data), -1)
    return np.stack([np.bitwise_and(plane[byte_of], comparator) == comparator for plane in flat])


def interval_by_scan(planes: np.ndarray, at: int, reach: int) -> np.ndarray:
    """Intervals as SpikeCV's TFI finds them: plane after plane outwards, over the whole image."""
    former = np.zeros(planes.shape[1:])
    latter = np.zeros(planes.shape[1:])
    for plane in range(at, at - reach - 1, -1):
        former += planes[plane] * (former == 0) * (at - plane + 1)
    for plane in range(at + 1, at + reach + 1):
        latter += planes[plane] * (latter == 0) * (plane - at)
    return np.where((former > 0) & (latter > 0), former - 1 + latter, 0)


def milliseconds(work: Callable[[], Any], least_s: float = 0.6) -> float:
    """Median time of a call, after one that does not count."""
    work()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < least_s:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def measure() -> dict[str, Any]:
    """All figures, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    spikes = scene()
    data, middle = spikes.data, PLANES // 2
    unpacked = unpack(data)
    scanned = unpacked.astype(bool)
    around = slice(middle - REACH, middle + REACH + 1)

    counts = {
        OURS: lambda: spike_counts(spikes, [PLANES])[0],
        NUMPY_PACKED: lambda: counts_numpy_packed(data),
        UNPACKBITS: lambda: unpack(data).sum(0, dtype=np.uint16),
        SPIKECV: lambda: np.mean(unpacked, axis=0) * PLANES,
        SPIKECV_LOADER: lambda: load_by_indices(data).sum(0),
    }
    intervals = {
        OURS: lambda: interval_image(spikes, middle, REACH).interval,
        UNPACKBITS: lambda: interval_by_scan(unpack(data[around]), REACH, REACH),
        SPIKECV: lambda: interval_by_scan(scanned, middle, REACH),
        SPIKECV_LOADER: lambda: interval_by_scan(load_by_indices(data[around]), REACH, REACH),
    }
    for table in (counts, intervals):
        expected = table[OURS]()
        for name, work in table.items():
            if not np.array_equal(np.rint(work()).astype(int), expected):
                raise AssertionError(f"{name} does not agree with {OURS}")

    planes_per_second = {name: PLANES / milliseconds(work) * 1e3 for name, work in counts.items()}
    interval_ms = {name: milliseconds(work) for name, work in intervals.items()}
    camera = RealtimeSpikeCamera(HEIGHT, WIDTH)
    light = np.full((HEIGHT, WIDTH), 0.2, np.float32)
    out = np.empty((16, *data.shape[1:]), np.uint8)
    copy = np.empty_like(data)
    large, large_copy = np.zeros(1 << 28, np.uint8), np.empty(1 << 28, np.uint8)
    window = spikes.last(NETWORK_WINDOW)
    return {
        "counts_planes_per_second_one_core": planes_per_second[OURS],
        "interval_ms": interval_ms[OURS],
        "three_windows_ms": milliseconds(lambda: spike_counts(window, [16, 64, 256])),
        "network_input_ms": milliseconds(lambda: network_input(window)),
        "camera_planes_per_second_one_core": 16 / milliseconds(lambda: camera.expose(light, 16, out)) * 1e3,
        "peers": {
            name: {
                "counts_planes_per_second_one_core": planes_per_second[name],
                "interval_ms": interval_ms.get(name),
            }
            for name in counts
            if name != OURS
        },
        "limits": {
            "copy_window_planes_per_second": PLANES / milliseconds(lambda: np.copyto(copy, data)) * 1e3,
            "copy_memory_gb_per_second": large.nbytes / milliseconds(lambda: np.copyto(large_copy, large)) / 1e6,
        },
        "planes": PLANES,
        "height": HEIGHT,
        "width": WIDTH,
        "reach": REACH,
        "machine": {
            "processor": llvmlite.binding.get_host_cpu_name(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
    }


def rows(results: dict[str, Any]) -> list[list[str]]:
    """A row an implementation: counts in planes a second, the interval image in milliseconds."""
    table = [
        [OURS, f"{results['counts_planes_per_second_one_core']:,.0f}", f"{results['interval_ms']:.2f}"],
    ]
    for name, figures in results["peers"].items():
        interval = figures["interval_ms"]
        table.append(
            [
                name,
                f"{figures['counts_planes_per_second_one_core']:,.0f}",
                "" if interval is None else f"{interval:.0f}",
            ]
        )
    limit = results["limits"]["copy_window_planes_per_second"]
    table.append(["limit: copying the packed window in the cache", f"{limit:,.0f}", ""])
    return table


def run(out: Path) -> dict[str, Any]:
    """Measure, print the table, and write `spikes.json` and `spikes.md` to a folder."""
    results = measure()
    columns = ("one core", f"counts over {PLANES} planes, planes/s", f"interval image, +-{REACH} planes, ms")
    table = rows(results)
    print_table(f"Spike arithmetic on planes of {WIDTH}x{HEIGHT}", columns, table)
    rest = (
        f"Counts over 16, 64 and 256 planes at once take {results['three_windows_ms']:.2f} ms, the network's input "
        f"of 256 planes {results['network_input_ms']:.2f} ms, and the real-time camera model fires "
        f"{results['camera_planes_per_second_one_core']:,.0f} planes/s, all on one core. Copying memory that is not "
        f"in the cache goes at {results['limits']['copy_memory_gb_per_second']:.1f} GB/s; a camera of 40,000 planes/s "
        "makes 0.5 GB/s."
    )
    print(rest)
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    write_json(out / "spikes.json", results)
    (out / "spikes.md").write_text(
        "# Spike arithmetic\n\n"
        "Made by `python benchmarks/spikes.py --out docs/results`. Medians on one core; "
        f"{machine}. The others' arithmetic is re-typed in NumPy (see the script), timed in the same run, and gives "
        "the same numbers.\n\n" + markdown_table(columns, table) + "\n" + rest + "\n"
    )
    return results


def main(
    out: Annotated[Path, typer.Option(help="Folder for spikes.json and spikes.md.")] = Path("docs/results"),
) -> None:
    """Measure the spike arithmetic on one core."""
    run(out)


if __name__ == "__main__":
    typer.run(main)
