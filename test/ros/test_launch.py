"""The launch files start what they say. `launch` comes with a ROS installation, and on no package index."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import rclpy
import yaml

from spike_depth_ros.adaptation_parameters import ADAPTATION_NODE
from spike_depth_ros.parameters import declare
from spike_depth_ros.player_parameters import EXCLUDE, PLAYER_NODE
from spike_depth_ros.time import from_stamp
from test.core.bags.recordings import START_NS, small_recording, write_recording
from test.core.factories import small_rig
from test.ros.harness import Observer

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


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A recording of 0.2 s."""
    return write_recording(tmp_path_factory.mktemp("bag") / "a.mcap", small_recording(rig=small_rig(64, 48)))


def run(name: str, **arguments: object) -> dict[str, int]:
    """Launch a file until all has ended, and give the exit status of each node."""
    from launch.actions import RegisterEventHandler, SetLaunchConfiguration
    from launch.event_handlers import OnProcessExit

    service = launch.LaunchService()
    ended = {}

    def note(event, _):
        ended[event.action.node_name.rpartition("/")[2]] = event.returncode

    given = [SetLaunchConfiguration(key, str(value)) for key, value in arguments.items()]
    handler = RegisterEventHandler(OnProcessExit(on_exit=note))
    service.include_launch_description(launch.LaunchDescription([handler, *given, *description(name).entities]))
    assert service.run() == 0
    return ended


REFUSED = ROOT / "test" / "ros" / "refused.yaml"


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_and_end_with_the_launch(name, bag):
    """With a parameter that is refused a node ends by itself, with status 1: it was found, and got its parameters. So
    does a replay, whose player would wait for the depth node."""
    ended = run(name, parameters=REFUSED, adaptation_parameters=REFUSED, condition="fog", bag=bag)
    assert {node: ended[node] for node in NODES[name]} == dict.fromkeys(NODES[name], 1)
    assert ended.keys() - NODES[name] == ({"player_node"} if name == "replay.launch.py" else set())


def test_a_replay_ends_with_a_recording_that_cannot_be_played(bag):
    assert run("replay.launch.py", bag=bag.with_name("none"))["player_node"] == 1


def test_a_recording_is_played_to_a_depth_node_that_listens(graph, bag, tmp_path):
    """Though it has ended long before a node would have loaded its network."""
    small_rig(64, 48).save(tmp_path / "rig.yaml")
    observer = graph.add(Observer)
    topics = {"spikes": "/spikes/packets", "rgb": "/rgb/image_raw"}
    ended = run("replay.launch.py", bag=bag, rate=0.1, rig=tmp_path / "rig.yaml", **topics)
    assert ended["player_node"] == 0
    images = observer.wait(lambda: observer.received["image_rect"], "depth")
    stamps = [from_stamp(message.header.stamp) for message in images]
    assert all(START_NS <= stamp <= START_NS + 200_000_000 for stamp in stamps)


def nodes(file: str, **arguments: str) -> dict[str, list[str]]:
    """The ROS arguments of what a file starts, by the full name of the node."""
    from launch.actions import SetLaunchConfiguration
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    context = launch.LaunchContext()
    found = {}
    waiting = [*(SetLaunchConfiguration(*entry) for entry in arguments.items()), *description(file).entities]
    while waiting:
        entity = waiting.pop(0)
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            namespace, _, name = entity.node_name.rpartition("/")
            named = {"name": f"__node:={name}", "ns": f"__ns:={namespace or '/'}"}
            context.extend_locals({"ros_specific_arguments": named})  # as launch_ros does when it starts the node
            found[entity.node_name] = [perform_substitutions(context, part) for part in entity.cmd[1:]]
        else:
            waiting = [*(entity.visit(context) or []), *waiting]
    return found


def test_two_cameras_side_by_side():
    """With a namespace each: two nodes whose names do not meet."""
    found = [nodes("depth.launch.py", namespace=side, device="cpu") for side in ("left", "right")]
    assert [list(names) for names in found] == [["/left/depth_node"], ["/right/depth_node"]]


@pytest.mark.parametrize(("namespace", "prefix"), [("", "/"), ("left", "/left/")])
def test_what_belongs_together_is_in_one_namespace(namespace, prefix):
    names = {"depth_node", "simulator_node", "<node_name_unspecified>"}  # the last one is RViz
    found = nodes("simulation.launch.py", namespace=namespace)
    assert found.keys() == {prefix + name for name in names}
    found = nodes("replay.launch.py", namespace=namespace, bag="a.mcap")
    assert found.keys() == {prefix + name for name in ("depth_node", "player_node")}


@pytest.mark.parametrize(
    ("given", "exclude"), [({}, EXCLUDE), ({"exclude": "['/a', '/007']"}, ["/a", "/007"]), ({"exclude": "['']"}, [""])]
)
def test_the_player_knows_to_whom_it_plays_and_what_not(given, exclude):
    found = nodes("replay.launch.py", namespace="left", name="my_depth", bag="a.mcap", **given)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("n", context=context, cli_args=found["/left/player_node"])
    values = declare(node, PLAYER_NODE)
    assert node.resolve_service_name(values.subscriber) == "/left/my_depth"
    assert (values.wait_for_subscriber, values.exclude) == (True, exclude)
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("given", [{}, {"rig": "/other.yaml", "checkpoint": "/b.safetensors"}])
def test_the_adaptation_node_hears_as_the_depth_node_does(tmp_path, given):
    """As a node reads it: from the depth node's parameter file, and before that from the arguments of the launch."""
    info = "qos_overrides./front/rgb/camera_info.subscription.durability"
    shared = {
        "rig": "/mine.yaml",
        "checkpoint": "007",
        "sensors": ["spikes", "rgb"],
        "rgb.offset": -0.02,
        "use_tf": False,
    }
    shared |= {"rgb.compressed": True, info: "transient_local"}
    of_depth_node = {"device": "cuda", "max_uncertainty": 0.1}
    path = tmp_path / "my_depth.yaml"
    path.write_text(yaml.dump({"/left/my_depth": {"ros__parameters": shared | of_depth_node}}))
    found = nodes("adaptation.launch.py", parameters=str(path), namespace="left", name="my_depth", **given)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("n", context=context, cli_args=found["/left/adaptation_node"])
    node.declare_parameter(info, "volatile")
    values = vars(declare(node, ADAPTATION_NODE)) | {info: node.get_parameter(info).value}
    node.destroy_node()
    rclpy.shutdown(context=context)
    assert {name: values[name] for name in shared} == shared | given
    assert {name: values[name] for name in of_depth_node} == {"device": "cpu", "max_uncertainty": 0.6}


def test_each_node_is_put_into_its_enclave_where_there_is_one():
    found = nodes("adaptation.launch.py", enclave="/spike_depth/depth_node", adaptation_enclave="/elsewhere")
    enclaves = {name: words[words.index("--enclave") + 1] for name, words in found.items()}
    assert enclaves == {"/depth_node": "/spike_depth/depth_node", "/adaptation_node": "/elsewhere"}
    assert not [words for words in nodes("adaptation.launch.py").values() if "--enclave" in words]
