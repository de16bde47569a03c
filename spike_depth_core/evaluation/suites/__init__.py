"""Benchmark suites: each trains the rows of a table and measures them on the same streets."""

from importlib import import_module

from spike_depth_core.evaluation.suites.suite import PRESETS, Preset, Suite

SUITES = ("bicross", "r2sdepth", "align_and_fuse", "adu_depth", "unified")


def load_suite(name: str) -> Suite:
    """A suite by its name. Raises ValueError naming those there are."""
    if name not in SUITES:
        raise ValueError(f"there is no suite {name!r}; there are {', '.join(SUITES)}")
    return import_module(f"spike_depth_core.evaluation.suites.{name}").SUITE


__all__ = ["PRESETS", "SUITES", "Preset", "Suite", "load_suite"]
