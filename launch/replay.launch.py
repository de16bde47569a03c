"""A recording and the depth node, in the time of the recording: `ros2 launch spike_depth replay.launch.py bag:=DIR`.

Takes the arguments of depth.launch.py as well: the topics as they are in the recording, the rig, parameters.
"""

from __future__ import annotations

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def _play(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    command = ["ros2", "bag", "play", LaunchConfiguration("bag"), "--clock", "100"]
    command += ["--rate", LaunchConfiguration("rate")]
    if LaunchConfiguration("loop").perform(context).lower() == "true":
        command.append("--loop")
    play = ExecuteProcess(cmd=command, output="screen")
    end = RegisterEventHandler(OnProcessExit(target_action=play, on_exit=EmitEvent(event=Shutdown(reason="the end"))))
    return [play, end]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("bag", description="The recording: a folder of rosbag2."),
        DeclareLaunchArgument("rate", default_value="1.0", description="How many times as fast as it was recorded."),
        DeclareLaunchArgument("loop", default_value="false", description="Whether to begin again at the end."),
    ]
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("spike_depth"), "launch", "depth.launch.py"])
        )
    )
    return LaunchDescription(
        [*arguments, SetLaunchConfiguration("use_sim_time", "true"), depth, OpaqueFunction(function=_play)]
    )
