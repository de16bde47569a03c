"""Depth that learns on the road: `ros2 launch spike_depth adaptation.launch.py spikes:=/front/packets`.

The depth node and the adaptation node, on the same topics, with the same rig and the same pairing. Learning is off
until it is switched on: by `enabled:=true`, or by the adaptation node's service `~/enable`. Takes the arguments of
depth.launch.py as well.
"""

from __future__ import annotations

from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import LaunchDescription
from spike_depth_ros.shared_parameters import handed_over
from spike_depth_ros.topics import ADAPTATION_NODE

SENSORS = ("spikes", "rgb", "nir", "thermal")
# Arguments that are parameters of the adaptation node, with their types. Left empty they stay as its file has them.
PARAMETERS = {
    "enabled": (bool, "Whether it learns from the start; empty for what the parameter file says."),
    "snapshots": (str, "Folder where what is learned is kept; empty for what the parameter file says."),
    "adaptation_device": (str, "Where it learns: cpu, cuda or auto; empty for what the parameter file says."),
}
# Arguments of depth.launch.py that are parameters of both nodes.
COMMON = ("rig", "checkpoint")


def _of_the_depth_node(context: LaunchContext) -> dict[str, Any]:
    """What the depth node's parameter file has that both nodes have to agree on."""
    file, name, namespace = (
        LaunchConfiguration(argument).perform(context) for argument in ("parameters", "name", "namespace")
    )
    namespace = prefix_namespace(context.launch_configurations.get("ros_namespace"), namespace)
    return handed_over(file, f"{make_namespace_absolute(namespace).rstrip('/')}/{name}")


def _node(context: LaunchContext) -> list[Node]:
    given = _of_the_depth_node(context)
    given |= {
        name.removeprefix("adaptation_"): ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }
    given |= {
        name: ParameterValue(LaunchConfiguration(name), value_type=str)
        for name in COMMON
        if LaunchConfiguration(name).perform(context)
    }
    enclave = LaunchConfiguration("adaptation_enclave")
    enclave = ["--enclave", enclave] if enclave.perform(context) else []
    return [
        Node(
            package="spike_depth",
            executable="adaptation_node",
            name=ADAPTATION_NODE,
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("adaptation_parameters"),
                {
                    "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                    "target": LaunchConfiguration("name"),
                    **given,
                },
            ],
            remappings=[(f"~/input/{name}", LaunchConfiguration(name)) for name in (*SENSORS, "odometry")],
            ros_arguments=["--log-level", LaunchConfiguration("log_level"), *enclave],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare("spike_depth")
    arguments = [
        DeclareLaunchArgument(
            "adaptation_parameters",
            default_value=PathJoinSubstitution([share, "config", "adaptation.yaml"]),
            description="Parameter file (YAML) of the adaptation node. What both nodes have to agree on is taken from "
            "the depth node's, where that has it.",
        ),
        DeclareLaunchArgument(
            "odometry",
            default_value="odometry",
            description="Topic of the vehicle's poses (nav_msgs/Odometry), by which parallax corrects the teacher.",
        ),
        DeclareLaunchArgument(
            "adaptation_enclave",
            default_value="",
            description="Security enclave of the adaptation node; none if empty.",
        ),
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, (_, description) in PARAMETERS.items()
    ]
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "depth.launch.py"]))
    )
    return LaunchDescription([*arguments, depth, OpaqueFunction(function=_node)])
