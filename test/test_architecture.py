"""Enforces the floors of docs/architecture.md: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = "spike_depth_core"
# Files directly in the package (resources) are the ground that everything stands on.
FLOORS = {
    "spikes": 1,
    "geometry": 1,
    "samples": 2,
    "streams": 2,
    "networks": 3,
    "losses": 3,
    "metrics": 3,
    "world": 3,
    "bags": 3,
    "recipes": 4,
    "inference": 4,
    "training": 5,
    "evaluation": 6,
    "adaptation": 5,
    "cli": 7,
}
ROS_PACKAGES = {"rclpy", "launch", "launch_ros", "spike_depth", "spike_depth_ros", "builtin_interfaces"}
ROS_SUFFIXES = ("_msgs", "_srvs", "_interfaces")
PICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
# The absolute names that ROS itself prescribes (REP 107, and the time source of every node).
ABSOLUTE_TOPICS = {"/diagnostics", "/clock"}


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; write the whole name"
            yield node.lineno, node.module or ""
            # `from spike_depth_core import spikes` names a folder too.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def floor_violations(path: Path, source: str) -> list[str]:
    """Imports of a core file that look up or sideways."""
    inside = path.relative_to(ROOT / CORE).parts
    folder = inside[0] if len(inside) > 1 else None
    own = FLOORS[folder] if folder else 0
    found = set()
    for line, module in imports(ast.parse(source)):
        parts = module.split(".")
        if parts[0] != CORE or len(parts) < 2 or parts[1] not in FLOORS:
            continue
        if parts[1] != folder and FLOORS[parts[1]] >= own:
            found.add(f"{path.relative_to(ROOT)}:{line}: floor {own} imports {parts[1]} of floor {FLOORS[parts[1]]}")
    return sorted(found)


def is_ros(module: str) -> bool:
    top = module.split(".")[0]
    return top in ROS_PACKAGES or top.endswith(ROS_SUFFIXES)


def unsafe_loads(source: str) -> list[int]:
    """Lines that unpickle, or may: pickle and its kin, torch.load, allow_pickle, yaml.load."""
    tree = ast.parse(source)
    found = [line for line, module in imports(tree) if module.split(".")[0] in PICKLES]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        allowed = any(
            keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
            for keyword in node.keywords
        )
        if name in {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"} or allowed:
            found.append(node.lineno)
    return found


def absolute_topics(source: str) -> list[str]:
    """Names given to publishers, subscriptions, services and clients that begin with a slash."""
    makers = {
        "create_publisher",
        "create_subscription",
        "create_service",
        "create_client",
        "create_lifecycle_publisher",
    }
    return [
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in makers
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value.startswith("/")
    ]


def test_every_folder_of_the_core_has_a_floor():
    folders = {path.name for path in (ROOT / CORE).iterdir() if (path / "__init__.py").exists()}
    assert folders <= FLOORS.keys()


def test_files_import_from_lower_floors_and_their_own_folder():
    assert [line for path in files(CORE) for line in floor_violations(path, path.read_text())] == []


def test_the_core_knows_nothing_of_ros():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in files(CORE)
        for line, module in imports(ast.parse(path.read_text()))
        if is_ros(module)
    ]
    assert found == []


def test_nothing_is_unpickled():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files(CORE, "spike_depth_ros", "benchmarks", "test")
        for line in unsafe_loads(path.read_text())
        if path != Path(__file__).resolve()
    ]
    assert found == []


def test_topics_can_be_remapped():
    found = {
        f"{path.relative_to(ROOT)}: {topic}"
        for path in files("spike_depth_ros")
        for topic in absolute_topics(path.read_text())
        if topic not in ABSOLUTE_TOPICS
    }
    assert found == set()


def test_the_floors_are_those_of_the_documentation():
    """Where the documentation has a table of floors, it is this one."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    documented: dict[str, int] = {}
    for floor, cell in re.findall(r"^\|\s*(\d)\s*\|([^|]*)\|", text, re.MULTILINE):
        documented |= dict.fromkeys(re.findall(r"`(\w+)/`", cell), int(floor))
    assert documented, "docs/architecture.md has no table of floors"
    assert documented.items() <= FLOORS.items()


@pytest.mark.parametrize(
    ("path", "source", "violations"),
    [
        ("spikes/new.py", "from spike_depth_core.geometry import PinholeCamera", 1),  # sideways
        ("spikes/new.py", "def f():\n    import spike_depth_core.cli.main", 1),  # hidden in a function
        ("samples/new.py", "from spike_depth_core import world", 1),
        ("world/new.py", "from spike_depth_core.world.noise import x\nfrom spike_depth_core.spikes import y", 0),
        ("resources.py", "from spike_depth_core.spikes import x", 1),
    ],
)
def test_the_check_sees_a_wrong_import(path, source, violations):
    assert len(floor_violations(ROOT / CORE / path, source)) == violations


def test_the_checks_see_what_is_unsafe():
    assert unsafe_loads("import torch\ntorch.load('x')") == [2]
    assert unsafe_loads("import numpy as np\nnp.load('x', allow_pickle=True)\nnp.load('x', allow_pickle=False)") == [2]
    assert unsafe_loads("from pickle import loads") == [1, 1]
    assert absolute_topics("self.create_publisher(Image, '/depth', 10)") == ["/depth"]
    assert is_ros("sensor_msgs.msg")
    assert not is_ros("torch.nn")
