"""A recording and the depth node, in the time of the recording: `ros2 launch spike_depth replay.launch.py bag:=DIR`.

It begins once the depth node listens, and ends with the recording. Takes the arguments of depth.launch.py as well: the
topics as they are in the recording, the rig, parameters.
"""

from __future__ import annotations

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    RegisterEventHandler,
    SetLaunchConfiguration,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from spike_depth_ros.player_parameters import EXCLUDE

PARAMETERS = {"bag": str, "rate": float, "loop": bool, "exclude": list[str]}


def _one_of_both(action: Action) -> bool:
    # Without the depth node the player would wait for ever.
    return isinstance(action, Node) and action.node_executable in ("player_node", "depth_node")


def _end(_: ProcessExited, context: LaunchContext) -> list[EmitEvent]:
    # To launch it is an error to be shut down twice.
    return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason="the end"))]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("bag", description="The recording: folder of a rosbag2 bag, or one file of it."),
        DeclareLaunchArgument("rate", default_value="1.0", description="How many times as fast as it was recorded."),
        DeclareLaunchArgument("loop", default_value="false", description="Whether to begin again at the end."),
        DeclareLaunchArgument(
            "exclude",
            default_value=str(EXCLUDE),
            description="Topics that are not played, with all below them, as a YAML list of strings; ~ for "
            "what is below the name of the depth node, but for its ~/input.",
        ),
    ]
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("spike_depth"), "launch", "depth.launch.py"])
        )
    )
    # It brings the Fast DDS profile with it, without which most of the spikes would be lost.
    player = Node(
        package="spike_depth",
        executable="player_node",
        name="player_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in PARAMETERS.items()}
            # Any other would do, a view or a recorder that was there before.
            | {"wait_for_subscriber": True, "subscriber": LaunchConfiguration("name")}
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    end = RegisterEventHandler(OnProcessExit(target_action=_one_of_both, on_exit=_end, handle_once=True))
    return LaunchDescription([*arguments, SetLaunchConfiguration("use_sim_time", "true"), end, depth, player])
