"""The launch files start what they say. `launch` comes with a ROS installation, and on no package index."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

launch = pytest.importorskip("launch", reason="launch comes with a ROS 2 installation only")
pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS 2 installation only")

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))


def description(name: str):
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(name):
    for argument in description(name).get_launch_arguments():
        assert len(argument.description) > 10, argument.name


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_and_end_with_the_launch(name):
    """With a parameter that is refused a node ends by itself, with status 1: it was found, and got its parameters."""
    from launch.actions import RegisterEventHandler
    from launch.event_handlers import OnProcessExit

    service = launch.LaunchService()
    ended = {}

    def note(event, _):
        ended[event.action.node_name.rpartition("/")[2]] = event.returncode

    parameters = ROOT / "test" / "ros" / "refused.yaml"
    service.include_launch_description(
        launch.LaunchDescription(
            [
                RegisterEventHandler(OnProcessExit(on_exit=note)),
                launch.actions.SetLaunchConfiguration("parameters", str(parameters)),
                launch.actions.SetLaunchConfiguration("condition", "fog"),
                *description(name).entities,
            ]
        )
    )
    assert service.run() == 0
    expected = {"depth_node": 1} | ({"simulator_node": 1} if "simulation" in name else {})
    assert ended == expected
