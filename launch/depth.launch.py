"""Depth from the sensors of a vehicle: `ros2 launch spike_depth depth.launch.py spikes:=/spike_camera/packets`.

Several cameras side by side: include it once for each, with a `namespace` of its own.
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SENSORS = ("spikes", "rgb", "nir", "thermal")
# Arguments that are parameters of the node, with their types. Left empty they stay as the parameter file has them.
PARAMETERS = {
    "rig": (str, "Sensor rig (YAML) that places the sensors; empty for what the parameter file says."),
    "checkpoint": (str, "Checkpoint of the network; empty for what the parameter file says."),
    "device": (str, "Where the network runs: cpu, cuda or auto; empty for what the parameter file says."),
    "parallax": (
        bool,
        "Whether the moments before correct the depth, by the odometry; empty for what the parameter file says.",
    ),
    "autostart": (bool, "Whether the node configures and activates itself; empty for what the parameter file says."),
}


def _node(context: LaunchContext) -> list[LifecycleNode]:
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }
    enclave = LaunchConfiguration("enclave")
    enclave = ["--enclave", enclave] if enclave.perform(context) else []
    return [
        LifecycleNode(
            package="spike_depth",
            executable="depth_node",
            name=LaunchConfiguration("name"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("parameters"),
                {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool), **given},
            ],
            remappings=[(f"~/input/{name}", LaunchConfiguration(name)) for name in (*SENSORS, "odometry")],
            ros_arguments=["--log-level", LaunchConfiguration("log_level"), *enclave],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    config = PathJoinSubstitution([FindPackageShare("spike_depth"), "config"])
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument("name", default_value="depth_node", description="Name of the node."),
        DeclareLaunchArgument(
            "parameters",
            default_value=PathJoinSubstitution([config, "depth.yaml"]),
            description="Parameter file (YAML) of the node.",
        ),
        DeclareLaunchArgument("use_sim_time", default_value="false", description="Whether to follow /clock."),
        DeclareLaunchArgument("log_level", default_value="info", description="Least severity that is logged."),
        DeclareLaunchArgument("enclave", default_value="", description="Security enclave of the node; none if empty."),
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, (_, description) in PARAMETERS.items()
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
    arguments.append(
        DeclareLaunchArgument(
            "odometry",
            default_value="odometry",
            description="Topic of the vehicle's poses (nav_msgs/Odometry), for parallax.",
        )
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])
