"""What it costs to receive 20,000 spike planes a second: `python benchmarks/reception.py --out docs/results`.

A publisher and a subscriber, each a process of its own, over real DDS. The subscriber takes each packet as it comes, or
lets them gather (`spike_depth_ros/batches.py`), with the C library as it comes, or keeping what it frees
(`spike_depth_core/allocator.py`); shown is its processor time a packet, in turns.
"""

from __future__ import annotations

import multiprocessing
import platform
import shlex
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import typer
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from spike_depth.msg import SpikePacket

from spike_depth_core.allocator import keep_freed_memory
from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation.results import machine, markdown_table
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.whole_files import write_json
from spike_depth_ros import qos
from spike_depth_ros.batches import Batches
from spike_depth_ros.domain import private_domain
from spike_depth_ros.messages import spikes_from_message, spikes_to_message
from spike_depth_ros.middleware import load_profile

PLANES, HEIGHT, WIDTH = 64, 250, 400
RATE_HZ = 20_000 / PLANES
GATHER_S = (0.0, 0.005, 0.05)  # each as it comes; the depth node's default; the adaptation node's


def publish(connection: Connection) -> None:
    """Send packets of noise at their rate until something comes through the connection."""
    load_profile()
    rclpy.init()
    publisher = Node("sender").create_publisher(SpikePacket, "/packets", qos.spikes_publisher())
    data = np.random.default_rng(0).integers(0, 256, (PLANES, HEIGHT, WIDTH // 8), np.uint8)
    begin, seq = time.monotonic(), 0
    while not connection.poll(max(0.0, begin + seq / RATE_HZ - time.monotonic())):
        publisher.publish(spikes_to_message(PackedSpikes(data, WIDTH, 50_000, seq * PLANES * 50_000), seq, "spikes"))
        seq += 1


def receive(connection: Connection, gather_s: float, keep: bool, seconds: float) -> None:
    """Take packets in for some seconds; answers with milliseconds of this thread a packet, packets, and those lost."""
    if keep:
        keep_freed_memory()
    load_profile()
    rclpy.init()
    node, seqs = Node("receiver"), []

    def take(message: SpikePacket) -> None:
        spikes_from_message(message)
        seqs.append(message.seq)

    group = Batches(node, gather_s).group if gather_s else None
    node.create_subscription(SpikePacket, "/packets", take, qos.spikes_subscription(), callback_group=group)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while len(seqs) < RATE_HZ:
        executor.spin_once()
    seqs.clear()
    used, end = time.thread_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=1.0)
    used = time.thread_time() - used
    connection.send((1e3 * used / len(seqs), len(seqs), seqs[-1] - seqs[0] + 1 - len(seqs)))


def main(
    turns: Annotated[int, typer.Option(min=1, help="Of each way of receiving.")] = 5,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long each turn lasts.")] = 5.0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the results go.")] = None,
) -> None:
    """Measure what receiving costs."""
    context = multiprocessing.get_context("spawn")
    ways = [(gather_s, keep) for gather_s in GATHER_S for keep in (False, True)]
    found: dict[tuple[float, bool], list[tuple[float, int, int]]] = {way: [] for way in ways}
    with private_domain():
        stop, theirs = context.Pipe()
        sender = context.Process(target=publish, args=(theirs,), daemon=True)
        sender.start()
        for way in track([way for _ in range(turns) for way in ways], "turns"):
            ours, theirs = context.Pipe()
            receiver = context.Process(target=receive, args=(theirs, *way, seconds), daemon=True)
            receiver.start()
            found[way].append(ours.recv())
            receiver.join()
        stop.send(None)
        sender.join()
    plain = np.array([ms for ms, _, _ in found[ways[0]]])
    result: list[dict[str, Any]] = []
    for (gather_s, keep), values in found.items():
        ms, packets, lost = np.array(values).T
        ratio = {"ratio": float((ms / plain).mean()), "ratio_deviation": float((ms / plain).std())}
        result.append(
            {"gather_s": gather_s, "kept": keep, "ms_a_packet": float(ms.mean()), "ms_deviation": float(ms.std())}
            | ratio
            | {"packets": int(packets.sum()), "lost": int(lost.sum())}
        )
    columns = ("packets gather", "freed memory", "ms a packet", "ratio", "packets", "lost")
    rows = [
        (
            f"{1e3 * row['gather_s']:.0f} ms" if row["gather_s"] else "not at all",
            "kept" if row["kept"] else "given back",
            f"{row['ms_a_packet']:.2f} ± {row['ms_deviation']:.2f}",
            f"{row['ratio']:.2f} ± {row['ratio_deviation']:.2f}",
            f"{row['packets']:,}",
            str(row["lost"]),
        )
        for row in result
    ]
    print_table("Receiving", columns, rows)
    if out is None:
        return
    about = f"{machine()}, {' '.join(platform.libc_ver())}"
    write_json(out / "reception.json", {"machine": about, "turns": turns, "seconds": seconds, "results": result})
    command = shlex.join(["python", "benchmarks/reception.py", *sys.argv[1:]])
    text = (
        f"# What receiving costs\n\n`{command}` on {about}: {RATE_HZ:g} packets of {PLANES} planes of "
        f"{WIDTH}x{HEIGHT} a second, mean and standard deviation over {turns} turns of {seconds:g} s. Processor time "
        "of the thread that receives; ratios to the turn of the first row beside it. How dear fresh memory is depends "
        "on the machine: on a virtual one, as here, very.\n\n"
    )
    (out / "reception.md").write_text(text + markdown_table(columns, rows))


if __name__ == "__main__":
    typer.run(main)
