"""Depth from the sensors of a vehicle: `ros2 launch spike_depth depth.launch.py spikes:=/spike_camera/packets`."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SENSORS = ("spikes", "rgb", "nir", "thermal")


def generate_launch_description() -> LaunchDescription:
    config = PathJoinSubstitution([FindPackageShare("spike_depth"), "config"])
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "parameters",
            default_value=PathJoinSubstitution([config, "depth.yaml"]),
            description="Parameter file (YAML) of the node.",
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="Least severity that is logged."),
    ]
    arguments += [
        DeclareLaunchArgument(
            sensor,
            default_value=f"{sensor}/{'packets' if sensor == 'spikes' else 'image_raw'}",
            description=f"Topic of the {sensor} {'packets' if sensor == 'spikes' else 'images'}; "
            "its camera_info is expected beside it.",
        )
        for sensor in SENSORS
    ]
    node = Node(
        package="spike_depth",
        executable="depth_node",
        name="depth_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("parameters")],
        remappings=[(f"~/input/{sensor}", LaunchConfiguration(sensor)) for sensor in SENSORS],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return LaunchDescription([*arguments, node])
