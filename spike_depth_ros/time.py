"""Stamps of messages and nanoseconds."""

from __future__ import annotations

from builtin_interfaces.msg import Time

NANOSECONDS = 1_000_000_000


def to_stamp(time_ns: int) -> Time:
    """The stamp of a time in nanoseconds."""
    seconds, nanoseconds = divmod(int(time_ns), NANOSECONDS)
    return Time(sec=seconds, nanosec=nanoseconds)


def from_stamp(stamp: Time) -> int:
    """Nanoseconds of a stamp."""
    return stamp.sec * NANOSECONDS + stamp.nanosec
