"""The samples that suites train and measure with: domains with equal settings are rendered once, for all suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spike_depth_core.evaluation.suites.suite import Preset, Suite
from spike_depth_core.samples import SENSORS
from spike_depth_core.training.domain_data import domain_folder, render_domain, settings_of
from spike_depth_core.whole_files import write_json
from spike_depth_core.world.domains import Domain

MOMENTS: dict[str, dict[str, Any]] = {
    "source": {"sensors": (*SENSORS, "rgb_right"), "frames": 1},
    "target": {"sensors": SENSORS, "frames": 1},
}
"""Single moments, with every sensor that one of the suites asks for, so that all of them can share the samples."""


def domain_of(name: str, changes: Mapping[str, Any], preset: Preset) -> Domain:
    """A domain of a suite, with the pictures' size of a preset."""
    return Domain.load(name, preset.size, **changes)


def frames_of(suite: Suite, preset: Preset) -> dict[str, int]:
    """By split, how many samples of each domain a suite takes."""
    train = suite.train_frames * preset.train_frames
    return {"train": train, "validation": preset.validation_frames, "test": preset.test_frames}


def render_domains(suite: Suite, preset: Preset, data: Path) -> Iterator[tuple[str, str, int, int]]:
    """Render what is missing of a suite's domains, at a preset's size.

    Yields:
        (domain, split, samples done, samples in all), for a progress bar.
    """
    for name, changes in suite.domains.items():
        domain = domain_of(name, changes, preset)
        folder = domain_folder(data, domain)
        write_json(folder / "domain.json", settings_of(domain))
        for split, count in frames_of(suite, preset).items():
            for done, total in render_domain(folder / split, domain, split, -(-count // domain.frames)):
                yield name, split, done, total


def domain_folders(suite: Suite, preset: Preset, data: Path) -> dict[str, Path]:
    """By domain, the folder that `render_domains` fills."""
    return {name: domain_folder(data, domain_of(name, changes, preset)) for name, changes in suite.domains.items()}
