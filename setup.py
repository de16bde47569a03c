"""Packaging of the core; pyproject.toml holds the metadata.

Only what it cannot express is here: `config/` lies at the top of the repository, where ROS users look for it, and is
installed inside the package, where `spike_depth_core.resources` finds it.
"""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfig(build_py):
    """Copies `config/` into the built package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "spike_depth_core", "config")
            copytree(Path(__file__).with_name("config"), target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfig})
