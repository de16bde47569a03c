"""Prepares DDS for spike streams. To be called before `rclpy.init`: Fast DDS reads its profile once."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from spike_depth_core.resources import config_path

PROFILE = "fastdds_shared_memory.xml"
# Fast DDS 2 (ROS 2 Jazzy) and Fast DDS 3 (later distributions) look at different variables.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def load_profile(environment: MutableMapping[str, str] = os.environ) -> str:
    """Name the package's profile in the environment, unless the user has chosen a profile or another middleware.

    Returns:
        One sentence that says what was done, for the log.
    """
    middleware = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"  # empty is as good as unset
    if "fastrtps" not in middleware:
        return f"{middleware} is used as it is: see to it that it carries packets of 1 MB at 300 Hz"
    path = str(config_path(PROFILE))
    for variable in PROFILE_VARIABLES:
        if environment.get(variable) not in (
            None,
            "",
            path,
        ):  # else it was set here, or by the process that started this one
            return f"Fast DDS profile of the user: {environment[variable]} ({variable})"
    for variable in PROFILE_VARIABLES:
        environment[variable] = path
    return f"Fast DDS profile of the package, for spike packets over shared memory: {path}"
