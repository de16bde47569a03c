"""What is installed, and how: the ROS way, by pip, and from a checkout."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

from requirements.repair_exports import repair
from spike_depth_core.resources import config_path

ROOT = Path(__file__).resolve().parents[1]
# Import name to requirement, where they differ.
NAMES = {"yaml": "PyYAML", "PIL": "pillow"}
ROSDEP = {"yaml": "python3-yaml", "PIL": "python3-pil", "rosbags": "python3-rosbags-pip", "tf2_ros": "tf2_ros_py"}
NO_ROSDEP_KEY = {"safetensors", "av", "mcap", "zstandard", "ray"}


def imported(folder: str) -> set[str]:
    """Top-level packages that the files of a folder import, and that are not Python's own."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"spike_depth", "spike_depth_core", "spike_depth_ros"}


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.+-]+)", line) for line in lines if line[:1].isalnum()]
    assert all(pins), f"requirements/{name}.txt has a line that is not pinned"
    return {pin[1]: pin[2] for pin in pins}


def test_what_the_core_imports_is_declared_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    declared = {re.split(r"[<>=\[]", line)[0] for line in (*project["dependencies"], *extras)}
    available = pinned("core") | pinned("report") | pinned("bags") | pinned("train") | pinned("export") | pinned("dev")
    available |= pinned("ray")  # which is not part of the set-up
    for package in imported("spike_depth_core"):
        assert NAMES.get(package, package) in declared, f"pyproject.toml does not declare {package}"
        assert NAMES.get(package, package) in available, f"requirements/ do not pin {package}"


def test_what_is_imported_is_in_the_package_manifest():
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {element.text for element in root if element.tag.endswith("depend")}
    for package in imported("spike_depth_core") | imported("spike_depth_ros"):
        if package in NO_ROSDEP_KEY:
            continue
        names = {ROSDEP[package]} if package in ROSDEP else {package, f"python3-{package}"}
        assert names & keys, f"package.xml does not declare {package}"


def test_the_version_is_the_same_everywhere():
    import spike_depth_core

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    manifest = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert project["version"] == manifest == spike_depth_core.__version__


def test_dependencies_are_documented_as_pinned():
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for name in ("core", "report", "bags", "export", "dev"):
        for package, version in pinned(name).items():
            assert f"{package} {version}" in text, f"docs/dependencies.md does not have {package} {version}"
    for name in ("ray",):
        for package, version in pinned(name).items():
            assert f"{package} {version}" in text
    for name in ("ros", "build"):
        for version in pinned(name).values():
            assert version in text


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_exports_of_the_wheels_are_repaired(version):
    tag = "cp" + version.replace(".", "")
    before = (
        f'"/opt/python/{tag}-{tag}/include/python{version};'
        f"/opt/python/{tag}-{tag}/lib/python{version}/site-packages/numpy/_core/include;"
        '${_IMPORT_PREFIX}/include/std_msgs"'
    )
    after = repair(before, "/usr/include/python", "/venv/numpy/include")
    assert after == '"/usr/include/python;/venv/numpy/include;${_IMPORT_PREFIX}/include/std_msgs"'
    assert repair(after, "/usr/include/python", "/venv/numpy/include") == after


def prefix() -> Path:
    """The ROS prefix that this package is installed in."""
    for path in (*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix):
        if path and (Path(path) / "share" / "spike_depth" / "package.xml").exists():
            return Path(path)
    pytest.skip("the package is not built: `make build` does it")


@pytest.mark.parametrize("name", ["depth_node", "adaptation_node", "simulator_node", "demo"])
def test_ros2_run_finds_the_programs(name):
    program = prefix() / "lib" / "spike_depth" / name
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site(prefix()))}
    parameter = "status_rate" if name == "adaptation_node" else "diagnostics_rate"
    asked = ["--help"] if name == "demo" else ["--ros-args", "-p", f"{parameter}:=0.0"]
    result = subprocess.run(
        [program, *asked], capture_output=True, text=True, cwd="/", env=environment, timeout=120, check=False
    )
    if name == "demo":
        assert result.returncode == 0
        assert "Usage" in result.stdout
    else:
        assert result.returncode == 1  # it got as far as to refuse the parameter
        assert parameter in result.stderr


def site(where: Path) -> Path:
    return next(where.glob("lib/python3.*/site-packages/spike_depth")).parent


def test_launch_files_config_and_messages_are_installed():
    share = prefix() / "share" / "spike_depth"
    for name in ("launch/depth.launch.py", "launch/simulation.launch.py", "msg/SpikePacket.msg"):
        assert (share / name).is_file()
    for path in (ROOT / "config").rglob("*"):
        if path.is_file():
            assert (share / path.relative_to(ROOT)).is_file(), path


def test_pip_brings_the_core_its_command_and_its_files_without_ros(tmp_path):
    """`pip install .` in short: the wheel is built and looked into; it runs from where it is unpacked."""
    source = tmp_path / "source"  # setuptools builds beside the source: not in the checkout
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "install", "log", "out", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=made)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path / "site")
    assert not [name for name in names if name.startswith(("spike_depth_ros", "test", "requirements"))]
    for path in (*(ROOT / "config").rglob("*"), *(ROOT / "spike_depth_core").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            expected = path.relative_to(ROOT).as_posix()
            expected = f"spike_depth_core/{expected}" if expected.startswith("config/") else expected
            assert expected in names, expected
    code = "from spike_depth_core import resources; print(resources.config_path('rigs/vehicle.yaml'))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "AMENT_PREFIX_PATH": ""},
        check=True,
    )
    assert found.stdout.strip() == str(tmp_path / "site" / "spike_depth_core" / "config" / "rigs" / "vehicle.yaml")


def test_a_config_file_that_is_not_there_is_named_with_every_place():
    with pytest.raises(FileNotFoundError, match=r"config/rigs/none\.yaml is in none of .*spike_depth_core/config"):
        config_path("rigs/none.yaml")
