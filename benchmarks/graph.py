"""The speed of the live graph on this machine: spikes over real DDS in, depth out.

    python benchmarks/graph.py --out docs/results

plays a street to the depth node, each in a process of its own, and writes `graph.json` and `graph.md`: what arrived and
what was lost, how often there is depth, how old it is when it is published, and where the time goes. Frames and spikes
are made beforehand and only sent, since the cameras of a vehicle take nothing of its processor either; that takes a
minute or two. Nothing else should run: both processes are in real time.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from spike_depth_core.cli.console import console, print_table
from spike_depth_core.evaluation.results import machine, markdown_table
from spike_depth_core.whole_files import write_json
from spike_depth_ros import qos, topics
from spike_depth_ros.demo_graph import Graph, listening, program, ros_arguments
from spike_depth_ros.domain import private_domain
from spike_depth_ros.interrupt import Interrupt
from spike_depth_ros.middleware import load_profile
from spike_depth_ros.time import from_stamp

PATIENCE_S = 900.0
WARM_UP_S = 3.0
DRIVE_S = 6.0  # made once, and played again and again
STEPS = ("transport", "pairing", "estimate", "publish")


class Listener(Node):
    """A user of the depth: hears what a navigation stack hears, and nothing that is made for people.

    Attributes:
        published: of each depth image, its stamp and the time of its publication, nanoseconds.
    """

    def __init__(self, **options: Any):
        super().__init__("listener", **options)
        self.published: list[tuple[int, int]] = []
        self._statuses: dict[str, dict[str, str]] = {}
        name = topics.DEPTH_NODE
        self._listen(Image, f"{name}/depth/image_rect", self._on_depth)
        self._listen(CameraInfo, f"{name}/depth/camera_info", lambda _: None)
        self._listen(Image, f"{name}/depth/uncertainty", lambda _: None)
        self._listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)

    def _listen(self, kind: type, topic: str, callback: Any) -> None:
        self.create_subscription(kind, topic, callback, qos.image_subscription())

    def _on_depth(self, message: Image, info: dict[str, Any]) -> None:
        # The time of writing is the publisher's: what this process takes to wake up is not counted.
        self.published.append((from_stamp(message.header.stamp), info["source_timestamp"]))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._statuses[status.name] = values | {"message": status.message}

    def status(self, name: str) -> dict[str, str]:
        """The newest diagnostics of a name; empty when there have been none."""
        return self._statuses.get(name, {})


def processor_seconds(process_id: int) -> float:
    """What a process has used of the processor so far, its threads together."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(process_id: int) -> float:
    """The memory that a process holds."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(graph: Graph, listener: Listener, seconds: float, depth_process: int) -> dict[str, Any]:
    """Let the graph run, and count what came in that time."""
    node = topics.DEPTH_NODE

    def state() -> tuple[float, dict[str, str]]:
        return processor_seconds(depth_process), dict(listener.status(f"{node}: inputs"))

    graph.wait(lambda: len(listener.published) > 5, PATIENCE_S, "the first depth", lambda: None)
    graph.wait(_passed(WARM_UP_S), 2 * WARM_UP_S, "the start", lambda: None)
    begin, begin_ns = time.monotonic(), time.time_ns()
    used, before = state()
    memory = resident_mib(depth_process)
    graph.wait(_passed(seconds), 2 * seconds, "the end", lambda: None)
    elapsed, end_ns = time.monotonic() - begin, time.time_ns()
    used_after, after = state()
    latency = listener.status(f"{node}: latency")
    steps = {step: {p: float(latency[f"{step}_ms_{p}"]) for p in ("p50", "p99")} for step in STEPS}
    depth = [(stamp, at) for stamp, at in listener.published if begin_ns <= at <= end_ns]
    latencies = np.array([(at - stamp) / 1e6 for stamp, at in depth])
    lost = int(after["spikes/lost"]) - int(before["spikes/lost"])
    received = int(after["spikes/received"]) - int(before["spikes/received"])
    whole = sum(steps[step]["p50"] for step in ("pairing", "estimate", "publish"))
    return {
        "seconds": elapsed,
        # Over the last 5 s, as the node has it: the counts are of whole diagnostics, up to a second apart.
        "planes_per_second": float(after["spikes/planes_per_second"]),
        "packets_received": received,
        "packets_lost": lost,
        "depth_hz": len(depth) / elapsed,
        "latency_ms_p50": float(np.percentile(latencies, 50)),
        "latency_ms_p99": float(np.percentile(latencies, 99)),
        "latency_ms_max": float(latencies.max()),
        "depth_node_cores": (used_after - used) / elapsed,
        "depth_node_mib": resident_mib(depth_process),
        "depth_node_mib_grown": resident_mib(depth_process) - memory,
        "backend": listener.status(f"{node}: model")["backend"],
        "simulator_behind_ms_max": float(graph.simulator().get("behind_ms_max", "nan")),
        "steps": steps,
        "shares": {step: steps[step]["p50"] / whole for step in ("pairing", "estimate", "publish")},
    }


def _passed(seconds: float) -> Any:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def rows_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The table for people."""
    steps, shares = result["steps"], result["shares"]
    rows = [
        ("spike planes a second", f"{result['planes_per_second']:,.0f}"),
        ("packets received, lost", f"{result['packets_received']:,}, {result['packets_lost']}"),
        ("depth images a second", f"{result['depth_hz']:.1f}"),
        (
            "last plane used to publication, p50 / p99 / max",
            f"{result['latency_ms_p50']:.1f} / {result['latency_ms_p99']:.1f} / {result['latency_ms_max']:.1f} ms",
        ),
        ("processor of the depth node", f"{result['depth_node_cores']:.2f} cores"),
        (
            "memory of the depth node, and by how much it grew",
            f"{result['depth_node_mib']:.0f} MiB, {result['depth_node_mib_grown']:+.0f} MiB",
        ),
        ("simulator behind, at most", f"{result['simulator_behind_ms_max']:.1f} ms"),
    ]
    names = {
        "pairing": "until all sensors have delivered and the moment is taken up",
        "estimate": "estimate",
        "publish": "making and sending the messages",
    }
    for step, name in names.items():
        text = f"{steps[step]['p50']:.1f} / {steps[step]['p99']:.1f} ms, {shares[step]:.0%} of the latency"
        rows.append((f"{name}, p50 / p99", text))
    return rows


def main(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to measure.")] = 60.0,
    sensors: Annotated[str, typer.Option(help="Sensors of the depth node.")] = "spikes,rgb,thermal",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the network.")] = 1,
    drive: Annotated[float, typer.Option(min=1.0, help="Seconds that are rendered and played again.")] = DRIVE_S,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where graph.json and graph.md go.")] = None,
) -> None:
    """Measure the live graph."""
    interrupt = Interrupt()
    console.print(load_profile())
    with ExitStack() as stack:
        stack.enter_context(private_domain())
        listener = stack.enter_context(listening(Listener))
        played = ros_arguments(duration=drive, loop=True, prepare_spikes=True, wait_for_subscriber=True)
        simulator = stack.enter_context(program("simulator_node", played))
        names = "[" + ", ".join(sensors.split(",")) + "]"
        depth_node = stack.enter_context(
            program(
                "depth_node",
                [
                    *ros_arguments(threads=threads, sensors=names),
                    *(part for old, new in topics.simulator_remappings() for part in ("-r", f"{old}:={new}")),
                ],
            )
        )
        graph = Graph(listener, {topics.SIMULATOR_NODE: simulator, topics.DEPTH_NODE: depth_node}, interrupt)
        result = measure(graph, listener, seconds, depth_node.pid)
    result |= {"sensors": sensors, "threads": threads, "machine": machine()}
    rows = rows_of(result)
    print_table("The live graph", ("", ""), rows)
    if out is not None:
        write_json(out / "graph.json", result)
        command = shlex.join(["python", "benchmarks/graph.py", *sys.argv[1:]])
        about = f"{sensors.replace(',', ', ')}; network by {result['backend']}, threads: {threads}"
        heading = f"# Speed of the live graph\n\n`{command}` on {result['machine']}. {about}.\n\n"
        (out / "graph.md").write_text(heading + markdown_table(("", ""), rows))


if __name__ == "__main__":
    typer.run(main)
