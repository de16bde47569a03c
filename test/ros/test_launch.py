"""The launch files start what they say. `launch` comes with a ROS installation, and on no package index."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

launch = pytest.importorskip("launch", reason="launch comes with a ROS 2 installation only")
pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS 2 installation only")

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))
NODES = {
    "adaptation.launch.py": {"depth_node", "adaptation_node"},
    "depth.launch.py": {"depth_node"},
    "replay.launch.py": {"depth_node"},
    "simulation.launch.py": {"depth_node", "simulator_node"},
}


def description(name: str):
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(name):
    arguments = description(name).get_launch_arguments()
    assert arguments
    for argument in arguments:
        assert len(argument.description) > 10, argument.name


@pytest.fixture
def player(tmp_path, monkeypatch):
    """A `ros2` that notes what it is asked, and plays until the file `ended` is there."""
    program = tmp_path / "ros2"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nwhile [ ! -e {tmp_path}/ended ]; do sleep 0.1; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_and_end_with_the_launch(name, player):
    """With a parameter that is refused a node ends by itself, with status 1: it was found, and got its parameters."""
    from launch.actions import RegisterEventHandler, SetLaunchConfiguration
    from launch.event_handlers import OnProcessExit

    service = launch.LaunchService()
    ended = {}

    def note(event, _):
        node = getattr(event.action, "node_name", "")
        if node:
            ended[node.rpartition("/")[2]] = event.returncode
        if ended.keys() == NODES[name]:
            (player / "ended").touch()

    parameters = ROOT / "test" / "ros" / "refused.yaml"
    service.include_launch_description(
        launch.LaunchDescription(
            [
                RegisterEventHandler(OnProcessExit(on_exit=note)),
                SetLaunchConfiguration("parameters", str(parameters)),
                SetLaunchConfiguration("adaptation_parameters", str(parameters)),
                SetLaunchConfiguration("condition", "fog"),
                SetLaunchConfiguration("bag", "/a/bag"),
                SetLaunchConfiguration("rate", "2.0"),
                *description(name).entities,
            ]
        )
    )
    assert service.run() == 0
    assert ended == dict.fromkeys(NODES[name], 1)
    if name == "replay.launch.py":
        assert (player / "asked").read_text().split() == ["bag", "play", "/a/bag", "--clock", "100", "--rate", "2.0"]


def test_two_cameras_side_by_side():
    """Included twice, with a namespace each: two nodes whose names do not meet."""
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode

    context = launch.LaunchContext()
    names = []
    for side in ("left", "right"):
        source = PythonLaunchDescriptionSource(str(ROOT / "launch" / "depth.launch.py"))
        include = IncludeLaunchDescription(source, launch_arguments={"namespace": side, "device": "cpu"}.items())
        waiting = [include]
        while waiting:
            entity = waiting.pop(0)
            if isinstance(entity, LifecycleNode):
                entity._perform_substitutions(context)
                names.append(entity.node_name)
            else:
                waiting += entity.visit(context) or []
    assert names == ["/left/depth_node", "/right/depth_node"]
