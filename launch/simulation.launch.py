"""The simulated vehicle and the depth node: `ros2 launch spike_depth simulation.launch.py condition:=night`."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from spike_depth_ros.topics import DEPTH_NODE, IMAGES, ODOMETRY, SIMULATOR_NODE, SPIKES


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare("spike_depth")
    config = PathJoinSubstitution([share, "config"])
    arguments = [
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes, and of what RViz shows."
        ),
        DeclareLaunchArgument("seed", default_value="700000", description="Which street is driven."),
        DeclareLaunchArgument("condition", default_value="day", description="Light: day, dusk or night."),
        DeclareLaunchArgument("duration", default_value="20.0", description="Length of the drive, in seconds."),
        DeclareLaunchArgument(
            "parallax", default_value="", description="Whether the moments before correct the depth, by the odometry."
        ),
        DeclareLaunchArgument("device", default_value="", description="Where the network runs: cpu, cuda or auto."),
        DeclareLaunchArgument(
            "parameters",
            default_value=PathJoinSubstitution([config, "depth.yaml"]),
            description="Parameter file (YAML) of the depth node.",
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Whether to open RViz on what comes out."),
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
                "duration": ParameterValue(LaunchConfiguration("duration"), value_type=float),
                "wait_for_subscriber": True,
            },
        ],
        output="screen",
    )
    inputs = {"spikes": SPIKES} | IMAGES | {"odometry": ODOMETRY}
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "depth.launch.py"])),
        launch_arguments={
            "name": DEPTH_NODE,
            "namespace": LaunchConfiguration("namespace"),
            "parameters": LaunchConfiguration("parameters"),
            "device": LaunchConfiguration("device"),
            "parallax": LaunchConfiguration("parallax"),
            **{name: f"{SIMULATOR_NODE}/{topic}" for name, topic in inputs.items()},
        }.items(),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),  # the topics of the file are relative
        arguments=["-d", PathJoinSubstitution([config, "spike_depth.rviz"])],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*arguments, simulator, depth, rviz])
