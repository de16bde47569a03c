"""What learning on the road costs: depth rate and latency with adaptation on and off, in turns, in one run.

    python benchmarks/adaptation.py --out docs/results

plays a street to the depth node and the adaptation node, each a process of its own. Frames and spikes are made
beforehand and only sent, since the cameras of a vehicle take nothing of its processor either. Learning is switched on
and off by its service, so both halves meet the same machine and the same street; `adaptation_cost.json` and
`adaptation_cost.md` are written. Making the street takes a minute or two before. Nothing else should run.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from diagnostic_msgs.msg import DiagnosticArray
from graph import Listener, processor_seconds
from spike_depth.msg import AdaptationStatus
from std_srvs.srv import SetBool

from spike_depth_core.cli.console import console, print_table
from spike_depth_core.evaluation.results import machine, markdown_table
from spike_depth_core.whole_files import write_json
from spike_depth_ros import qos, topics
from spike_depth_ros.demo_graph import Graph, listening, program, ros_arguments
from spike_depth_ros.domain import private_domain
from spike_depth_ros.interrupt import Interrupt
from spike_depth_ros.middleware import load_profile

PATIENCE_S = 900.0
SETTLE_S = 3.0
DRIVE_S = 6.0  # rendered once, and played again and again
ALLOWED = 0.2  # of the depth rate, and of the latency, that learning may take
INPUTS, LATENCY = (f"{topics.DEPTH_NODE}: {part}" for part in ("inputs", "latency"))  # names of diagnostic statuses
ACTIVE = (AdaptationStatus.WATCHING, AdaptationStatus.LEARNING, AdaptationStatus.BACKING_OFF)


class Switch(Listener):
    """A user of the depth that also hears, and switches, the adaptation.

    Attributes:
        said: its statuses, in order.
        received: by each of the depth node's diagnostics, how many spike planes arrive a second, and the milliseconds
            from the end of a packet's last plane to its arrival. Where the simulator cannot keep up, its delay is in
            there.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.said: list[AdaptationStatus] = []
        self.received: list[tuple[float, float]] = []
        name = topics.ADAPTATION_NODE
        self.create_subscription(AdaptationStatus, f"{name}/status", self.said.append, qos.diagnostics())
        self._enable = self.create_client(SetBool, f"{name}/enable")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        super()._on_diagnostics(message)
        if any(status.name == LATENCY for status in message.status):
            planes = float(self.status(INPUTS)["spikes/planes_per_second"])
            self.received.append((planes, float(self.status(LATENCY)["transport_ms_p50"])))

    def ready(self) -> bool:
        return bool(self._enable.service_is_ready())

    def switch(self, on: bool) -> Any:
        """Ask for it; the future is done when it is so."""
        return self._enable.call_async(SetBool.Request(data=on))

    def active(self) -> bool:
        return bool(self.said) and self.said[-1].state in ACTIVE


def passed(seconds: float) -> Any:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def measure(graph: Graph, switch: Switch, on: bool, seconds: float, processes: dict[str, int]) -> dict[str, float]:
    """Depth and processor time over some seconds, with learning on or off."""
    graph.wait(switch.switch(on).done, PATIENCE_S, "the switch", lambda: None)
    graph.wait(lambda: switch.active() == on, PATIENCE_S, "learning to begin or end", lambda: None)
    graph.wait(passed(SETTLE_S), 2 * SETTLE_S, "the start", lambda: None)
    used = {name: processor_seconds(process) for name, process in processes.items()}
    steps = switch.said[-1].steps
    received = len(switch.received)
    begin, begin_ns = time.monotonic(), time.time_ns()
    graph.wait(passed(seconds), 2 * seconds, "the end", lambda: None)
    elapsed, end_ns = time.monotonic() - begin, time.time_ns()
    latencies = [(at - stamp) / 1e6 for stamp, at in switch.published if begin_ns <= at <= end_ns]
    planes_per_second, transport_ms = np.median(switch.received[received:], axis=0)
    latency_ms_p50, latency_ms_p99 = np.percentile(latencies, (50, 99))
    return {
        "planes_per_second": float(planes_per_second),
        "depth_hz": len(latencies) / elapsed,
        "transport_ms": float(transport_ms),
        "latency_ms_p50": float(latency_ms_p50 - transport_ms),
        "latency_ms_p99": float(latency_ms_p99 - transport_ms),
        "steps": float(switch.said[-1].steps - steps),
        **{f"{name}_cores": (processor_seconds(process) - used[name]) / elapsed for name, process in processes.items()},
    }


def compare(rounds: dict[bool, list[dict[str, float]]]) -> dict[str, Any]:
    """Means of both, and the cost: the share of the depth rate that is lost, and by which the latency rises."""
    means = {
        name: {key: float(np.mean([r[key] for r in rounds[on]])) for key in rounds[on][0]}
        for name, on in (("off", False), ("on", True))
    }
    off, on = means["off"], means["on"]
    cost = {
        "depth_hz": 1 - on["depth_hz"] / off["depth_hz"],
        "latency_ms_p50": on["latency_ms_p50"] / off["latency_ms_p50"] - 1,
        "latency_ms_p99": on["latency_ms_p99"] / off["latency_ms_p99"] - 1,
    }
    return {**means, "cost": cost, "rounds": {"off": rounds[False], "on": rounds[True]}}


def rows_of(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The table for people: measured, off, on, cost."""
    off, on, cost = result["off"], result["on"], result["cost"]
    named = (
        ("planes_per_second", "spike planes a second", "{:,.0f}"),
        ("transport_ms", "before it: a plane read out to its arrival, ms", "{:.1f}"),
        ("depth_hz", "depth images a second", "{:.1f}"),
        ("latency_ms_p50", "arrival of the last plane used to publication, p50, ms", "{:.1f}"),
        ("latency_ms_p99", "the same, p99, ms", "{:.1f}"),
    )
    spread = {
        kind: {key: float(np.std([r[key] for r in result["rounds"][kind]])) for key, _, _ in named}
        for kind in ("off", "on")
    }
    rows = [
        (
            name,
            *(
                f"{form.format(mean[key])} ± {form.format(spread[kind][key])}"
                for kind, mean in (("off", off), ("on", on))
            ),
            f"{cost[key]:+.1%}" if key in cost else "",
        )
        for key, name, form in named
    ]
    for node in (topics.SIMULATOR_NODE, topics.DEPTH_NODE, topics.ADAPTATION_NODE):
        rows.append((f"processor of {node}, cores", f"{off[f'{node}_cores']:.2f}", f"{on[f'{node}_cores']:.2f}", ""))
    rows.append(("steps", f"{off['steps']:.1f}", f"{on['steps']:.1f}", ""))
    return rows


def main(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long each turn is measured.")] = 30.0,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each kind.")] = 3,
    budget: Annotated[
        float | None, typer.Option(help="Milliseconds a second; the node's default when left out.")
    ] = None,
    drive: Annotated[float, typer.Option(min=1.0, help="Seconds that are rendered and played again.")] = DRIVE_S,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the results go.")] = None,
) -> None:
    """Measure the cost of learning on the road."""
    interrupt = Interrupt()
    console.print(load_profile())
    with ExitStack() as stack:
        stack.enter_context(private_domain())
        switch = stack.enter_context(listening(Switch))
        remappings = [part for old, new in topics.simulator_remappings() for part in ("-r", f"{old}:={new}")]
        played = ros_arguments(duration=drive, loop=True, prepare_spikes=True, wait_for_subscriber=True)
        simulator = stack.enter_context(program("simulator_node", played))
        depth_node = stack.enter_context(program("depth_node", [*ros_arguments(), *remappings]))
        kept = stack.enter_context(tempfile.TemporaryDirectory())
        given = {"snapshots": kept, "resume": False} | ({} if budget is None else {"budget": budget})
        adaptation = stack.enter_context(program("adaptation_node", [*ros_arguments(**given), *remappings]))
        nodes = {
            topics.SIMULATOR_NODE: simulator,
            topics.DEPTH_NODE: depth_node,
            topics.ADAPTATION_NODE: adaptation,
        }
        graph = Graph(switch, nodes, interrupt)
        graph.wait(lambda: len(switch.published) > 5 and switch.ready(), PATIENCE_S, "the first depth", lambda: None)
        # Examples are made ready once, before anything is measured.
        graph.wait(switch.switch(True).done, PATIENCE_S, "the switch", lambda: None)
        graph.wait(switch.active, PATIENCE_S, "the examples", lambda: None)
        rounds: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        pids = {name: process.pid for name, process in nodes.items()}
        for turn in range(2 * turns):
            if interrupt:
                return
            on = bool(turn % 2)
            rounds[on].append(measure(graph, switch, on, seconds, pids))
    result = compare(rounds) | {"seconds": seconds, "machine": machine()}
    rows = rows_of(result)
    columns = ("", "off", "on", "cost")
    print_table("Learning on the road", columns, rows)
    met = all(value <= ALLOWED for key, value in result["cost"].items() if key != "latency_ms_p99")
    console.print(f"at most {ALLOWED:.0%} of rate and median latency: {'met' if met else 'MISSED'}")
    if out is not None:
        write_json(out / "adaptation_cost.json", result)
        command = shlex.join(["python", "benchmarks/adaptation.py", *sys.argv[1:]])
        text = (
            f"# What learning on the road costs\n\n`{command}` on {result['machine']}: mean and standard deviation "
            f"over {turns} turns of {seconds:g} s, with and without in turns.\n\n"
        )
        (out / "adaptation_cost.md").write_text(text + markdown_table(columns, rows) + "\n")


if __name__ == "__main__":
    typer.run(main)
