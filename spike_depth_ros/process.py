"""The life of a node's process: middleware, signals, exit status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node

from spike_depth_core.allocator import keep_freed_memory
from spike_depth_ros.middleware import load_profile


def run_node(make: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Make a node and spin it until SIGINT or SIGTERM.

    Returns:
        The process's exit status: 0 after a signal, 1 when the node could not be made, which is then said in a line.
    """
    keep_freed_memory()
    done = load_profile()
    interrupted: list[int] = []

    def interrupt(signum: int, _: Any) -> None:
        interrupted.append(signum)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    node = executor = None
    try:
        try:
            rclpy.init(args=arguments)
        except (rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError) as error:
            what = str(error).removeprefix("failed to initialize rcl: ").partition(", at ")[0]  # less rcl's own lines
            raise ValueError(f"ROS does not start: {what}") from error
        get_logger("spike_depth").info(done)
        node = make()
        if rclpy.ok():  # no signal came while it was made: after one, no executor can be
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError, rclpy.exceptions.ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok() and not interrupted:
            raise
        # A signal while the node was being made: whatever it needed of ROS next was no longer there. Or one amid a call
        # of rclpy's, which makes another error of the interrupt.
    finally:
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.destroy_node()
        with suppress(RuntimeError):  # rclpy's thread for signals may have done it just after try_shutdown has asked
            rclpy.try_shutdown()
    return 0
