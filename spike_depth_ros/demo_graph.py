"""A drive through the live graph: nodes as processes, a recorder that listens, and what came of it.

Nothing is drawn or scored while the graph runs: that would take its cores.
"""

from __future__ import annotations

import ctypes
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from spike_depth.msg import AdaptationStatus

from spike_depth_core.cli.console import console, progress_bar
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import Evaluation
from spike_depth_core.networks.checkpoint import read_info
from spike_depth_core.resources import default_checkpoint
from spike_depth_ros import demo_results, topics
from spike_depth_ros.demo_results import Drive, Frame
from spike_depth_ros.domain import private_domain
from spike_depth_ros.interrupt import Interrupt
from spike_depth_ros.learner import STATES
from spike_depth_ros.middleware import load_profile
from spike_depth_ros.recorder import DEPTH, Recorder

PATIENCE_S = 600.0  # for the rendering, and for kernels that are compiled on first use
DRAIN_S = 5.0  # for the last diagnostics to come
STOP_S = 5.0  # for a node to end
# Of the adaptation in a drive of seconds: it looks, and is judged, more often than on the road.
ADAPTATION = {
    "enabled": True,
    "resume": False,
    "originals": 6,
    "interval": 0.25,
    "budget": 250.0,
    "review_every": 4,
    "least_held_out": 1,
}


@contextmanager
def program(module: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A node in a process of its own, which ends with this one, whatever happens.

    It is in a process group of its own: Ctrl-C in the terminal is for the demonstration, which ends the nodes in order.
    Not in a session: the kernel would share the cores out by sessions, and no node's priority would count.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", f"spike_depth_ros.{module}", *arguments],
        process_group=0,
        preexec_fn=_end_with_parent,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:  # it is loading or compiling, and hears nothing
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    set_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


class Listener(Protocol):
    """A node that hears diagnostics."""

    def status(self, name: str) -> dict[str, str]: ...


@contextmanager
def listening(make: Callable[[], Any] = Recorder) -> Iterator[Any]:
    """A node that spins on a thread of its own, by default a recorder."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    recorder = make()
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="listen", daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        rclpy.shutdown()
        thread.join()
        recorder.destroy_node()


class Graph:
    """The processes and the one who listens to them, and what to wait for."""

    def __init__(self, recorder: Listener, processes: dict[str, subprocess.Popen[bytes]], interrupt: Interrupt):
        self.recorder, self.processes, self.interrupt = recorder, processes, interrupt

    def simulator(self) -> dict[str, str]:
        return self.recorder.status(f"{topics.SIMULATOR_NODE}: drive")

    def packets_received(self) -> int:
        return int(self.recorder.status(f"{topics.DEPTH_NODE}: inputs").get("spikes/received", 0))

    def wait(self, until: Callable[[], bool], patience_s: float, what: str, show: Callable[[], None]) -> bool:
        """Wait until something holds; False when interrupted.

        Raises:
            ChildProcessError: when a node has ended.
            TimeoutError: when it takes too long.
        """
        deadline = time.monotonic() + patience_s
        while not until():
            if self.interrupt:
                return False
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise ChildProcessError(
                        f"{name} has ended with status {process.returncode}, while waiting for {what}"
                    )
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {patience_s:.0f} s for {what}")
            show()
            time.sleep(0.1)
        return True

    def run(self, seconds: float) -> None:
        """Prepare, drive, and let the counts settle."""
        with progress_bar() as progress:
            task = progress.add_task("Rendering the street", total=1.0)
            prepared = self.wait(
                lambda: int(self.simulator().get("packets", 0)) > 0,
                PATIENCE_S + 20 * seconds,
                "the drive to begin",
                lambda: progress.update(task, completed=float(self.simulator().get("prepared", 0.0))),
            )
            if not prepared:
                return
            progress.update(task, completed=1.0)
            begin = time.monotonic()
            task = progress.add_task("Driving", total=seconds)

            def show() -> None:
                depths = len(self.recorder.times_ns)
                progress.update(task, completed=time.monotonic() - begin, description=f"Driving, {depths} depth images")

            self.wait(lambda: self.simulator().get("message") == "finished", seconds + 60.0, "the end", show)
        self._settle()

    def _settle(self) -> None:
        """Wait for diagnostics that were made after the last packet: counts that no longer change."""
        deadline = time.monotonic() + DRAIN_S
        if self.interrupt:
            self.processes[topics.SIMULATOR_NODE].terminate()
        before = -1
        while time.monotonic() < deadline:
            received = self.packets_received()
            complete = received >= int(self.simulator().get("packets", 0))
            if complete and (received == before or not self.interrupt):  # an interrupted simulator has no last word
                return
            before = received
            time.sleep(1.1)


def figures_of(graph: Graph, packet_planes: int) -> dict[str, Any]:
    """Counts and rates of a drive, from the nodes' diagnostics and what the recorder saw."""
    drive = graph.simulator()
    measured = graph.recorder.status(f"{topics.DEPTH_NODE}: inference").get("measured")
    inputs = graph.recorder.status(f"{topics.DEPTH_NODE}: inputs")
    latency = graph.recorder.status(f"{topics.DEPTH_NODE}: latency")
    received, lost = int(inputs.get("spikes/received", 0)), int(inputs.get("spikes/lost", 0))
    # After an interruption the simulator's last word may be a second old.
    sent = max(int(drive.get("packets", 0)), received + lost)
    times_ns = graph.recorder.times_ns
    elapsed_s = max(float(drive.get("elapsed_s", 0.0)), (times_ns[-1] - times_ns[0]) / 1e9, 1e-3)
    return {
        "seconds": elapsed_s,
        "packets_sent": sent,
        "packets_received": received,
        "packets_lost": sent - received,
        "planes_per_packet": packet_planes,
        "planes_per_second": int(inputs.get("spikes/planes", 0)) / elapsed_s,
        "depth_frames": len(times_ns),
        "depth_hz": len(times_ns) / elapsed_s,
        "inference_ms_p50": float(latency.get("estimate_ms_p50", "nan")),
        "inference_ms_p99": float(latency.get("estimate_ms_p99", "nan")),
        "simulator_behind_ms_max": float(drive.get("behind_ms_max", "nan")),
        **({} if measured is None else {"measured_frames": int(measured)}),
    }


def drive_of(graph: Graph, figures: dict[str, Any], prior: RowPrior | None, facts: list[tuple[str, str]]) -> Drive:
    """Score what was recorded."""
    recorder = graph.recorder
    start_ns = recorder.times_ns[0]
    frames = [Frame((record.time_ns - start_ns) / 1e9, record.images) for record in recorder.records()]
    evaluation = Evaluation(prior)
    for frame in frames:
        if "truth" in frame.images and recorder.camera is not None:
            name = f"{frame.time_s:.2f} s"
            evaluation.add(
                frame.images[DEPTH], frame.images["truth"], recorder.camera, frame.images.get("uncertainty"), name
            )
    times_s = [(time_ns - start_ns) / 1e9 for time_ns in recorder.times_ns]
    command = shlex.join(["python", "-m", "spike_depth_ros.demo", *sys.argv[1:]])
    return Drive(figures, recorder.latencies_ms, times_s, frames, evaluation, facts, command)


def write_results(drive: Drive, out: Path) -> None:
    """The table at once, then the files, the slow ones last: an interruption costs only what is not yet done."""
    metrics = drive.metrics()
    demo_results.show(metrics, f"{metrics['seconds']:.1f} s over real DDS")
    demo_results.write_metrics(out, metrics)
    video = demo_results.write_video(out, drive.frames)
    page = demo_results.write_page(out, drive, metrics, video)
    console.print(f"Results: {out / 'metrics.json'}, {video}, {page}")


def run_demo(
    interrupt: Interrupt,
    seconds: float,
    seed: int,
    condition: str,
    checkpoint: Path | None,
    planes_per_packet: int,
    threads: int,
    out: Path,
    adapt: bool = False,
    parallax: bool = False,
    prepare_spikes: bool = False,
) -> None:
    """Start the graph, drive, and write what came of it. The arguments are those of the command.

    Raises:
        KeyboardInterrupt: at the second signal, or the first while results are written.
        ChildProcessError, TimeoutError: when the graph does not do what it should.
        ValueError: for a checkpoint that cannot be used.
    """
    info = read_info(checkpoint or default_checkpoint())
    prior = RowPrior.of(info)
    console.print(load_profile())
    with ExitStack() as stack:
        if "ROS_DOMAIN_ID" not in os.environ:
            domain = stack.enter_context(private_domain())
            console.print(
                f"To look in from another terminal: ROS_DOMAIN_ID={domain} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
            )
        recorder = stack.enter_context(listening())
        simulator = program(
            "simulator_node",
            ros_arguments(
                seed=seed,
                condition=condition,
                duration=float(seconds),
                loop=False,
                planes_per_packet=planes_per_packet,
                prepare_spikes=prepare_spikes,
                wait_for_subscriber=True,
            ),
        )
        depth_node = program(
            "depth_node",
            [
                *ros_arguments(
                    threads=threads, parallax=parallax, **({"checkpoint": str(checkpoint)} if checkpoint else {})
                ),
                *(part for old, new in topics.simulator_remappings() for part in ("-r", f"{old}:={new}")),
            ],
        )
        programs = {topics.SIMULATOR_NODE: simulator, topics.DEPTH_NODE: depth_node}
        if adapt:
            programs[topics.ADAPTATION_NODE] = adaptation_program(checkpoint, out)
        with ExitStack() as running:
            processes = {name: running.enter_context(program) for name, program in programs.items()}
            graph = Graph(recorder, processes, interrupt)
            try:
                graph.run(seconds)
            finally:
                for process in processes.values():
                    process.terminate()  # all now; each is waited for when its context ends
        if not recorder.times_ns:
            if interrupt:
                console.print("Interrupted before there was any depth: nothing to report.")
                return
            raise TimeoutError("not one depth image came in the whole drive")
        facts = [
            ("Street", f"seed {seed}, {condition}"),
            ("Checkpoint", f"{checkpoint or 'shipped'}, sha256 {info.sha256[:16]}"),
            ("Machine", f"{os.cpu_count()} cores"),
        ]
        figures = figures_of(graph, planes_per_packet)
        if adapt:
            figures["adaptation"] = adaptation_of(recorder.adaptation)
        drive = drive_of(graph, figures, prior, facts)
    interrupt.at_once = True
    write_results(drive, out)


def adaptation_program(checkpoint: Path | None, out: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The adaptation node, on the topics of the simulator."""
    parameters = ADAPTATION | {"snapshots": str((out / "snapshots").absolute())}
    if checkpoint:
        parameters["checkpoint"] = str(checkpoint)
    remappings = (part for old, new in topics.simulator_remappings() for part in ("-r", f"{old}:={new}"))
    return program("adaptation_node", [*ros_arguments(**parameters), *remappings])


def adaptation_of(statuses: Sequence[AdaptationStatus]) -> dict[str, Any]:
    """What the adaptation node said over the drive, as plain values."""
    if not statuses:
        return {"statuses": 0}
    last = statuses[-1]
    losses = [status.loss for status in statuses if not math.isnan(status.loss)]
    states = [STATES[status.state] for status in statuses]
    return {
        "statuses": len(statuses),
        "states": [state for state, before in zip(states, [None, *states[:-1]], strict=True) if state != before],
        "reasons": dict(Counter(status.reason for status in statuses if status.reason)),
        "losses": [losses[0], losses[-1]] if losses else [],
        "running": list(dict.fromkeys(status.running_sha256 for status in statuses if status.running_sha256)),
        **{
            name: getattr(last, name)
            for name in (
                "moments",
                "accepted",
                "measured",
                "steps",
                "reviews",
                "swaps",
                "rollbacks",
                "total_improvement",
            )
        },
    }


def ros_arguments(**parameters: Any) -> list[str]:
    """Parameters as arguments of a node's process."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name}:={text}"]
    return arguments
