"""Dictionaries of arrays that were saved with `numpy.save`, read without unpickling.

`numpy.save` writes a dictionary as a pickle, and a pickle may run anything when it is loaded. Some data sets keep their
calibration so. Here the pickle's instructions are followed as data: numbers, text, bytes, lists, tuples, dictionaries,
and the few names below from which NumPy rebuilds arrays. Nothing is imported and nothing is called; any other name is
an error.
"""

from __future__ import annotations

import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
_NO_BYTES = "__builtin__ bytes"  # how an old pickle writes the data of an array without elements
_KNOWN = {*_RECONSTRUCT, *_SCALAR, _NO_BYTES, "numpy ndarray", "numpy dtype", "_codecs encode"}

_VALUES = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(str):
    """A name that the pickle would import, `module name`."""


class _Type:
    """A NumPy type that is being rebuilt."""

    def __init__(self, code: str) -> None:
        if not re.fullmatch(r"[?biufO]\d*", code):
            raise ValueError(f"arrays of type {code!r} are not read")
        self.dtype = np.dtype(code)

    def build(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array that is being rebuilt; of objects, a list of them."""

    def __init__(self) -> None:
        self.value: Any = None

    def build(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        if kind.dtype.hasobject:
            self.value = [plain(item) for item in data]
        else:
            self.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C").copy()


def plain(value: Any) -> Any:
    """What has been rebuilt, in place of what rebuilt it."""
    return value.value if isinstance(value, _Array) else value


def _call(name: _Name, arguments: tuple) -> Any:
    if name in _RECONSTRUCT:
        return _Array()
    if name in _SCALAR:
        return np.frombuffer(arguments[1], arguments[0].dtype)[0]
    if name == "numpy dtype":
        return _Type(arguments[0])
    if name == "_codecs encode":
        return arguments[0].encode("latin1")
    if name == _NO_BYTES and not arguments:
        return b""
    raise ValueError(f"it calls {name}")


def _follow(pickled: bytes) -> Any:
    """The value that a pickle describes."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(pickled):
        kind = opcode.name
        if kind in ("PROTO", "FRAME"):
            continue
        if kind == "STOP":
            return plain(stack.pop())
        if kind in _LITERALS:
            stack.append(argument)
        elif kind in _VALUES:
            stack.append(_VALUES[kind])
        elif kind in ("GLOBAL", "STACK_GLOBAL"):
            if kind == "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                argument = f"{module} {name}"
            if argument not in _KNOWN:
                raise ValueError(f"it names {argument}")
            stack.append(_Name(argument))
        elif kind == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif kind in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = stack[-1]
        elif kind in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif kind == "MARK":
            marks.append(len(stack))
        elif kind in _TUPLES:
            size = _TUPLES[kind]
            items = stack[len(stack) - size :]
            del stack[len(stack) - size :]
            stack.append(tuple(items))
        elif kind == "TUPLE":
            stack.append(tuple(since_mark()))
        elif kind in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if kind == "EMPTY_LIST" else {})
        elif kind == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif kind == "APPENDS":
            items = since_mark()
            stack[-1].extend(items)
        elif kind in ("SETITEM", "SETITEMS"):
            items = since_mark() if kind == "SETITEMS" else [stack.pop(-2), stack.pop()]
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif kind == "REDUCE":
            arguments = stack.pop()
            stack.append(_call(stack.pop(), arguments))
        elif kind == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Array | _Type):
                raise ValueError(f"it builds a {type(stack[-1]).__name__}")
            stack[-1].build(state)
        else:
            raise ValueError(f"it has an instruction {kind}")
    raise ValueError("it has no end")


def read_array_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The dictionary of arrays that `numpy.save(path, dictionary)` wrote.

    Raises:
        ValueError: naming the file, when it holds anything else.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = header(file)
            if not dtype.hasobject:
                raise ValueError(f"an array of {dtype}")
            content = _follow(file.read())
    except OSError:
        raise
    except Exception as error:  # a damaged pickle fails in as many ways as there are instructions
        raise ValueError(f"{path}: expected a dictionary of arrays: {error}") from error
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        found = {key: np.asarray(plain(value)) for key, value in content[0].items()}
        if all(isinstance(key, str) and value.dtype.kind in "biuf" for key, value in found.items()):
            return found
    raise ValueError(f"{path}: expected a dictionary of arrays, found {type(content).__name__}")
