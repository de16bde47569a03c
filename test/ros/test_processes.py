"""The nodes as programs: they start with their defaults, say what is wrong, and end when told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork
from test.ros.harness import TIMEOUT_S, Observer, Vehicle

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def program(module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A node's process; killed if a test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"spike_depth_ros.{module}", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A network that has learned nothing, as a file."""
    network = DepthNetwork()
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_checkpoint(path, network, CheckpointInfo(network.architecture))
    return path


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_depth_from_a_process_that_ends_when_told_to(graph, checkpoint, stop):
    arguments = ["--ros-args", "--params-file", "config/depth.yaml", "-p", f"checkpoint:={checkpoint}"]
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    with program("depth_node", *arguments) as process:
        vehicle.connect(lambda ready, what: observer.wait(lambda: ready() or process.poll() is not None, what))

        def depth():
            vehicle.announce()
            vehicle.send_spikes(1)
            return observer.received["image_rect"]

        assert observer.wait(depth, "depth from the process")[0].encoding == "32FC1"
        process.send_signal(stop)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, output
        assert "Traceback" not in output
        assert "fastdds_shared_memory.xml" in output


def test_a_signal_while_the_network_is_loaded_ends_the_process_cleanly(checkpoint):
    with program("depth_node", "--ros-args", "-p", f"checkpoint:={checkpoint}") as process:
        process.stdout.readline()  # the first line is about the middleware, before the node is made
        process.terminate()
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_an_interrupt_that_a_library_makes_another_error_of_ends_the_process_cleanly():
    script = """
import signal, sys
import rclpy
from spike_depth_ros.process import run_node

def make():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        rclpy.ok = lambda: True  # the context has not noticed yet
        raise RuntimeError("amid a call") from interrupt

sys.exit(run_node(make))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("checkpoint:=/nowhere/x.safetensors", "/nowhere/x"),
        ("device:=tpu", "device"),
        ("threads:=two", "threads"),
        ("qos_overrides./depth_node/input/spikes.subscription.reliability:=besteffort", "spikes.subscription.rel"),
    ],
)
def test_a_wrong_parameter_ends_the_process_with_a_line_that_names_it(parameter, said):
    with program("depth_node", "--ros-args", "-p", parameter) as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert said in output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--params-file", "/nowhere/depth.yaml"], "/nowhere/depth.yaml"),
        (["--params-file", "LICENSE"], "LICENSE"),
        (["-p", "threads"], "-p threads"),
        (["threads"], "threads"),
    ],
)
def test_arguments_that_cannot_be_read_end_the_process_with_a_line_that_names_them(arguments, said):
    with program("depth_node", "--ros-args", *arguments) as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
