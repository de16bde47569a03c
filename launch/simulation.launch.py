"""The simulated vehicle and the depth node: `ros2 launch spike_depth simulation.launch.py condition:=night`."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from spike_depth_ros.topics import DEPTH_NODE, SIMULATOR_NODE, simulator_remappings


def generate_launch_description() -> LaunchDescription:
    config = PathJoinSubstitution([FindPackageShare("spike_depth"), "config"])
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of both nodes."),
        DeclareLaunchArgument("seed", default_value="700000", description="Which street is driven."),
        DeclareLaunchArgument("condition", default_value="day", description="Light and weather: day, dusk or night."),
        DeclareLaunchArgument(
            "parameters",
            default_value=PathJoinSubstitution([config, "depth.yaml"]),
            description="Parameter file (YAML) of the depth node.",
        ),
    ]
    simulator = Node(
        package="spike_depth",
        executable="simulator_node",
        name=SIMULATOR_NODE,
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            PathJoinSubstitution([config, "simulator.yaml"]),
            {
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "condition": LaunchConfiguration("condition"),
                "wait_for_subscriber": True,
            },
        ],
        output="screen",
    )
    depth = Node(
        package="spike_depth",
        executable="depth_node",
        name=DEPTH_NODE,
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("parameters")],
        remappings=simulator_remappings(),
        output="screen",
    )
    return LaunchDescription([*arguments, simulator, depth])
