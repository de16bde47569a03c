"""A recipe's settings as text, as a command line gives them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Any

import yaml

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes.recipe import Stage
from spike_depth_core.recipes.teaching import Teaching

GIVEN_OTHERWISE = ("architecture", "seed", "settings")
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "a list",
    dict: "a mapping",
    Teaching: "a mode of teaching, or a mapping of mode and decay",
}


def settings_of(
    recipe: str, make: Callable[..., tuple[Stage, ...]], architecture: Architecture, given: Sequence[str]
) -> dict[str, Any]:
    """What to call a recipe with.

    Args:
        recipe: its name, for messages.
        make: its entry in `RECIPES`.
        architecture: that it is to be made for.
        given: `NAME=VALUE` each, the value as in YAML. A teacher is given by its mode, or as `{mode: ema, decay: 0.9}`.

    Raises:
        ValueError: for what is no such pair, a setting that the recipe does not have, and a value of another kind.
    """
    known = _defaults(make, architecture)
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"a setting is NAME=VALUE, found {pair!r}")
        if name not in known:
            raise ValueError(f"{recipe} has no setting {name!r}; it has {', '.join(sorted(known))}")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ValueError(f"{name} is no value: {text!r}") from error
        found[name] = _like(name, value, known[name])
    return found


def _defaults(make: Callable[..., tuple[Stage, ...]], architecture: Architecture) -> dict[str, Any]:
    """By name, what the settings are where nobody says anything: those of the recipe as a whole and of its stages."""
    known: dict[str, Any] = {}
    for stage in make(architecture, 0):
        for field in fields(stage.recipe):  # type: ignore[arg-type]
            factory = field.default_factory
            known[field.name] = field.default if factory is MISSING else factory()
    whole = inspect.signature(make).parameters.values()
    known |= {p.name: p.default for p in whole if p.kind is not inspect.Parameter.VAR_KEYWORD}
    return {name: value for name, value in known.items() if name not in GIVEN_OTHERWISE}


def _like(name: str, value: Any, default: Any) -> Any:
    """The value, as the kind of thing that the default is. Raises ValueError where it is another."""
    if isinstance(default, Teaching) and isinstance(value, str | dict):
        try:
            return Teaching(value) if isinstance(value, str) else Teaching(**value)
        except TypeError as error:
            raise ValueError(f"{name} has {', '.join(f.name for f in fields(Teaching))}, found {value}") from error
    kind = type(default)
    if isinstance(default, tuple) and isinstance(value, list):
        if default and isinstance(default[0], float) and len(value) != len(default):  # the ends of a range
            raise ValueError(f"{name} is {len(default)} numbers, {default!r} by default, found {value!r}")
        return tuple(_like(f"{name}[{i}]", v, default[0]) for i, v in enumerate(value)) if default else tuple(value)
    if kind is float and type(value) is int:
        return float(value)
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is a finite number, {default!r} by default, found {value!r}")
    if kind in _KINDS and type(value) is not kind:
        raise ValueError(f"{name} is {_KINDS[kind]}, {default!r} by default, found {value!r}")
    if kind is dict:
        if unknown := sorted(map(str, set(value) - set(default))):
            raise ValueError(f"{name} has {', '.join(default)}, found {', '.join(unknown)}")
        return default | {key: _like(f"{name}.{key}", entry, default[key]) for key, entry in value.items()}
    return value
