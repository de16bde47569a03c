"""Repairs the CMake files of the ROS wheels: `repair_exports.py PREFIX`, with the Python that they shall serve.

The wheels were built in a container, and their exports name the include folders of Python and numpy in it
(`/opt/python/cp311-cp311/...`). Building messages against them needs this interpreter's own.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

NUMPY_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_?core/include")
PYTHON_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")


def repair(text: str, python_include: str, numpy_include: str) -> str:
    """The text of a CMake file with the container's include folders replaced."""
    # A function as the replacement: a path may hold backslashes, which a replacement string would interpret.
    text = NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return PYTHON_INCLUDE.sub(lambda _: python_include, text)


def main(prefix: Path) -> None:
    """Rewrite the exports under `prefix`/share. Idempotent."""
    for path in sorted(prefix.glob("share/*/cmake/*.cmake")):
        text = path.read_text()
        repaired = repair(text, sysconfig.get_paths()["include"], numpy.get_include())
        if repaired != text:
            path.write_text(repaired)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
