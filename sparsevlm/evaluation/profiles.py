"""Profiles: which model answers which benchmarks, how much of each, and on what.

They are declared in `data/profiles.yaml`, the studies that narrow them in `data/studies.yaml`.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cache

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sparsevlm.evaluation.paths import DATA, relative
from sparsevlm.evaluation.studies import Study, get_study
from sparsevlm.miniature.registry import marker_of

MIN_LIMIT = 4
FILE = DATA / "profiles.yaml"
DEVICE_VARIABLE = "SPARSEVLM_DEVICE"  # in place of "cuda" in every profile: "cpu", "cuda:1"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Profile:
    """What `reproduce --profile NAME` runs.

    Attributes
    ----------
    name : str
        As it is asked for on the command line and in a notebook.
    model : str
        A bundled miniature, a checkpoint on the hub, or a folder.
    benchmarks : tuple of str
        Names in `sparsevlm.benchmarks.BENCHMARKS`.
    samples_per_benchmark : int
        How many samples of each; 0 means all of them.
    dtype, attention, device : str
        As transformers and torch name them: "float32", "sdpa", "cpu".
    batch : int
        Samples in one forward pass.
    max_new_tokens : int
        Longest answer; 0 for what the official script of each benchmark allows.
    methods : tuple of str
        Names in `sparsevlm.METHODS`, compared at every budget; the dense model is always run too.
    budgets : tuple of int
        Visual tokens kept, as the paper counts them (the mean over layers of `tokens_out`).
    seed : int
        Chooses the samples, and the draws of the random baseline.
    note : str
        A line that every figure and table of this profile shows beside the model's own marker.
    missing : str
        Why the profile cannot run; "" where it can.
    study : str
        The table or figure that it was narrowed to (`for_study`); "" for the whole profile.
    limit : int
        At most so many samples of each benchmark; 0 where nothing was limited.
    chosen_model : bool
        Whether the user named the model, which then goes before that of a study.
    """

    name: str
    model: str
    benchmarks: tuple[str, ...]
    samples_per_benchmark: int
    dtype: str
    attention: str
    device: str
    batch: int
    max_new_tokens: int
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    seed: int = 0
    note: str = ""
    missing: str = ""
    study: str = ""
    limit: int = 0
    chosen_model: bool = False

    @property
    def slug(self) -> str:
        """Name of the folders of its artifacts and figures: "mini", "mini-16", "a100+llava-13b"."""
        model = f"+{re.sub(r'[^A-Za-z0-9._-]', '_', self.model)}" if self.chosen_model else ""
        limit = f"-{self.limit}" if self.limit else ""
        return f"{self.name}{model}{limit}"

    @property
    def options(self) -> str:
        """What chooses it on the command line: "--profile mini --limit 8"."""
        model = f" --model {self.model}" if self.chosen_model else ""
        return f"--profile {self.name}{model}" + (f" --limit {self.limit}" if self.limit else "")

    @property
    def marker(self) -> str:
        """What every figure and table must say of the numbers; "" for none."""
        said = f"at most {self.limit} samples of each benchmark" if self.limit else ""
        return "; ".join(part for part in (marker_of(self.model), self.note, said) if part)

    def for_study(self, name: str) -> Profile:
        """Return the profile narrowed to a study of `data/studies.yaml`.

        Raises
        ------
        ValueError
            There is no such study, and the message lists the known ones; or it belongs to another
            profile.
        """
        study: Study = get_study(name)
        if study.only not in ("", self.name):
            raise ValueError(
                f"the study {name!r} belongs to profile {study.only!r}, not {self.name!r}"
            )
        fields = dict(
            study=name,
            benchmarks=study.benchmarks,
            methods=study.methods,
            budgets=study.budgets,
        )
        fields |= study.profiles.get(self.name, {})
        if self.chosen_model:
            fields["model"] = self.model
        narrowed = replace(self, **fields)
        return narrowed.limited(self.limit)

    def limited(self, limit: int) -> Profile:
        """Return the profile with at most `limit` samples of each benchmark; 0 changes nothing.

        Raises
        ------
        ValueError
            Fewer than one question of every benchmark.
        """
        if limit == 0:
            return self
        if limit < MIN_LIMIT:
            raise ValueError(
                f"limit must be at least {MIN_LIMIT}, because MMBench asks a question up to "
                f"{MIN_LIMIT} times with its options rotated; got {limit}"
            )
        most = min(limit, self.samples_per_benchmark or limit)
        return replace(self, limit=limit, samples_per_benchmark=most)

    def noted(self, note: str) -> Profile:
        """Return the profile with one more thing to say of its numbers; "" changes nothing."""
        return replace(self, note="; ".join(part for part in (self.note, note) if part))

    def with_model(self, model: str) -> Profile:
        """Return the profile with another model in place of its own; "" changes nothing."""
        if model in ("", self.model):
            return self
        return replace(self, model=model, chosen_model=True)

    def require_runnable(self) -> None:
        """Raise `NotImplementedError` with the reason if this profile cannot run."""
        if self.missing:
            raise NotImplementedError(f"profile {self.name!r} cannot run: {self.missing}")


@cache
def profiles() -> dict[str, Profile]:
    """Return the declared profiles by name, those for a GPU on the device of SPARSEVLM_DEVICE.

    Raises
    ------
    ValueError
        `data/profiles.yaml` has an unknown field, lacks one, or a value has another type.
    """
    rows = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    named = {name: {"name": name, **row} for name, row in rows.items()}
    try:
        known = TypeAdapter(dict[str, Profile]).validate_python(named)
    except ValidationError as error:
        raise ValueError(f"{relative(FILE)} is not as it should be: {error}") from None
    chosen = os.environ.get(DEVICE_VARIABLE) or "cuda"
    return {
        name: replace(one, device=chosen) if one.device == "cuda" else one
        for name, one in known.items()
    }


def get_profile(name: str) -> Profile:
    """Return the profile called `name`; "mini-8" is "mini" with `limit` 8.

    Raises
    ------
    ValueError
        If there is none (the message lists the known ones), or the limit is too small.
    """
    known = profiles()
    if name in known:
        return known[name]
    found = re.fullmatch(r"(.+)-([1-9]\d*)", name)
    if found and found[1] in known:
        return known[found[1]].limited(int(found[2]))
    raise ValueError(f"unknown profile {name!r}; known: {', '.join(known)}")


def as_profile(profile: Profile | str) -> Profile:
    """Return the profile itself, or the one of this name."""
    return get_profile(profile) if isinstance(profile, str) else profile
