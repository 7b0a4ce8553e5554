"""Parameters of a notebook: names, types, and names of known things are checked before it runs.

papermill only warns of an unknown name, and takes any type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from sparsevlm.analysis.style import COLUMN_INCHES
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.core.schedule import plain
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.methods import METHODS
from sparsevlm.miniature.registry import MINIATURES
from sparsevlm.models.checkpoints import CHECKPOINTS
from sparsevlm.paper.notebooks import Parameter, declared_parameters


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
    try:
        value = text if "str" in kinds else yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    return of_type(value, parameter)


def of_type(value: object, parameter: Parameter) -> object:
    """Return a value if it has the declared type; an int where a float is declared becomes one.

    Raises
    ------
    ValueError
        It has another. True is no int here, and "3" is no number.
    """
    kind = eval(parameter.annotation)  # of a notebook of ours, which is about to be executed
    value = [plain(item) for item in value] if isinstance(value, list) else plain(value)
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        raise ValueError(
            f"parameter {parameter.name!r} must be {parameter.annotation} "
            f"(for example {parameter.default!r}), got {value!r}"
        ) from None


def check(source: Path, given: Mapping[str, object]) -> dict[str, object]:
    """Return all parameters of a run of a notebook, the defaults included.

    Raises
    ------
    ValueError
        A name is not declared, a value has another type or is out of range, or a profile, model,
        method or benchmark is not known; the message lists what is.
    """
    declared = declared_parameters(source)
    values = {name: parameter.default for name, parameter in declared.items()}
    for name, value in given.items():
        _require_known("parameter", name, declared, f" of notebook {source.stem}")
        values[name] = of_type(value, declared[name])
        for item in values[name] if isinstance(values[name], list) else [values[name]]:
            _check_value(name, item)
    return values


def _check_value(name: str, value: object) -> None:
    kind = name.removesuffix("s")
    if kind == "profile":
        get_profile(value)
    elif kind == "model":
        require_model(value)
    elif kind == "width":
        if value not in (known := COLUMN_INCHES.values()):
            widths = " or ".join(map(str, known))
            raise ValueError(f"width must be {widths} inches (one or two columns), got {value}")
    elif kind in ("method", "benchmark"):
        _require_known(kind, value, registered(kind))
    elif (kind == "token" or name.startswith("num_")) and value is not None and value < 1:
        raise ValueError(f"parameter {name!r} must be a positive number, got {value!r}")


def registered(kind: str) -> list[str]:
    """Return the known names of a kind: "method", "benchmark" or "model"."""
    models = (*MINIATURES, *(checkpoint.short for checkpoint in CHECKPOINTS))
    return list({"method": METHODS, "benchmark": BENCHMARKS, "model": models}[kind])


def full_model_name(name: str) -> str:
    """Return the name of a model in profiles and results: "llava-7b" is short for another."""
    return next((one.name for one in CHECKPOINTS if name == one.short), name)


def require_model(name: str) -> None:
    """A bundled model, a checkpoint of the paper, or a folder; "" stands for the profile's own."""
    known = registered("model")
    if not name or Path(name).is_dir() or name in map(full_model_name, known):
        return
    _require_known("model", name, known, ", and no folder")


def _require_known(kind: str, name: object, known: Iterable[str], where: str = "") -> None:
    known = list(known)
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}{where}; known: {', '.join(known)}")
