"""What every table and figure that is made of answers measures, profile by profile.

A study is a profile narrowed to one table: `Profile.for_study` replaces the fields that the study
declares and keeps the rest. They are declared in `data/studies.yaml`.
"""

from __future__ import annotations

from functools import cache

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sparsevlm.evaluation.paths import DATA, relative

FILE = DATA / "studies.yaml"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Study:
    """The fields of `Profile` that a study replaces.

    Attributes
    ----------
    profiles : dict of dict
        By profile: further fields that it replaces there (model, samples_per_benchmark, dtype).
    only : str
        The one profile that it belongs to; "" for all.
    """

    benchmarks: tuple[str, ...]
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    profiles: dict[str, dict[str, str | int | tuple[str, ...]]] = Field(default_factory=dict)
    only: str = ""


@cache
def _declared() -> dict:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


@cache
def studies() -> dict[str, Study]:
    """Return the declared studies by name.

    Raises
    ------
    ValueError
        `data/studies.yaml` has an unknown field, lacks one, or a value has another type.
    """
    try:
        return TypeAdapter(dict[str, Study]).validate_python(_declared()["studies"])
    except ValidationError as error:
        raise ValueError(f"{relative(FILE)} is not as it should be: {error}") from None


def get_study(name: str) -> Study:
    """Return a study; ValueError with the known ones where there is none of this name."""
    known = studies()
    if name not in known:
        raise ValueError(f"unknown study {name!r}; known: {', '.join(known)}")
    return known[name]


def studies_of(notebook: str) -> tuple[str, ...]:
    """Return the studies whose answers a notebook reads; none for one that asks by itself."""
    named = _declared()["notebooks"].get(notebook)
    if named is not None:
        return tuple(named)
    return (notebook,) if notebook in studies() else ()


def belongs(notebook: str, profile: str) -> bool:
    """Whether a notebook can be run with a profile: all its studies belong to it."""
    return all(studies()[study].only in ("", profile) for study in studies_of(notebook))
