"""Check what is passed to a notebook before it runs: names, types, and names of known things.

papermill only warns of an unknown name, and takes any type.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparsevlm.evaluation.profiles import get_profile, profiles
from sparsevlm.paper.notebooks import Parameter, declared_parameters

_SCALARS = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def matches(value: object, annotation: str) -> bool:
    """Whether a value has the declared type: a scalar, `list[scalar]`, or a union of these."""
    return any(_matches_one(value, part.strip()) for part in annotation.split("|"))


def _matches_one(value: object, annotation: str) -> bool:
    if annotation == "None":
        return value is None
    if annotation.startswith("list[") and annotation.endswith("]"):
        inner = annotation[len("list[") : -1]
        return isinstance(value, list) and all(_matches_one(item, inner) for item in value)
    if annotation not in _SCALARS:
        raise ValueError(f"parameters are str, int, float, bool or lists of them, not {annotation}")
    # True is an int to Python, not to a reader.
    if isinstance(value, bool) and annotation != "bool":
        return False
    return isinstance(value, _SCALARS[annotation])


def from_text(text: str, parameter: Parameter) -> object:
    """Read a value given on the command line, as the type that the notebook declares.

    Raises
    ------
    ValueError
        If the text is no such value.
    """
    kinds = [part.strip() for part in parameter.annotation.split("|")]
    if "None" in kinds and text in ("None", "null"):
        return None
    if "str" in kinds:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError):
            continue
        if matches(value, parameter.annotation):
            return value
    raise ValueError(_type_message(parameter, text))


def _type_message(parameter: Parameter, value: object) -> str:
    return (
        f"parameter {parameter.name!r} must be {parameter.annotation} "
        f"(for example {parameter.default!r}), got {value!r}"
    )


def check(source: Path, given: Mapping[str, object]) -> dict[str, object]:
    """Return all parameters of a run of a notebook, the defaults included.

    Parameters
    ----------
    source : Path
        The notebook's source.
    given : mapping
        Values by name.

    Raises
    ------
    ValueError
        If a name is not declared, a value has another type, or a profile, method or benchmark is
        not known; the message lists what is.
    """
    declared = declared_parameters(source)
    for name, value in given.items():
        _require_known("parameter", name, declared, f" of notebook {source.stem}")
        if not matches(value, declared[name].annotation):
            raise ValueError(_type_message(declared[name], value))
        _check_registered(name, value)
    return {name: given.get(name, parameter.default) for name, parameter in declared.items()}


def _check_registered(name: str, value: object) -> None:
    kind = name.removesuffix("s")
    if kind not in ("profile", "method", "benchmark"):
        return
    for item in value if isinstance(value, list) else [value]:
        if kind == "profile":
            get_profile(item)
        else:
            _require_known(kind, item, registered(kind))


def registered(kind: str) -> list[str]:
    """Return the known names of a kind: "profile", "method" or "benchmark"."""
    if kind == "profile":
        return list(profiles())
    if kind == "benchmark":
        from sparsevlm.benchmarks import BENCHMARKS

        return list(BENCHMARKS)
    from sparsevlm.methods import METHODS  # loads torch

    return list(METHODS)


def _require_known(kind: str, name: object, known: Iterable[str], where: str = "") -> None:
    known = list(known)
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}{where}; known: {', '.join(known)}")
