"""Profiles: which model, which benchmarks, how much of each, and on what."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sparsevlm.evaluation.studies import STUDIES

BENCHMARKS = ("gqa", "mmbench", "mme", "pope", "scienceqa", "seed", "textvqa", "mmvet")
METHODS = ("sparsevlm", "sparsevlm-all-text", "fastv", "pdrop", "tome", "random", "uniform")
BUDGETS = (192, 128, 64)
MIN_LIMIT = 4


@dataclass(frozen=True)
class Profile:
    """What `reproduce --profile NAME` runs.

    Attributes
    ----------
    name : str
        As it is asked for on the command line and in a notebook.
    model : str
        A bundled miniature or a checkpoint on the hub.
    benchmarks : tuple of str
        Names in `sparsevlm.benchmarks.BENCHMARKS`.
    samples_per_benchmark : int
        How many samples of each; 0 means all of them.
    seed : int
        Chooses the samples, and the draws of the random baseline.
    dtype, attention, device : str
        As transformers and torch name them: "float32", "sdpa", "cpu".
    batch : int
        Samples in one forward pass.
    methods : tuple of str
        Names in `sparsevlm.METHODS`, compared at every budget; the dense model is always run too.
    budgets : tuple of int
        Visual tokens kept, as the paper counts them (the mean over layers of `tokens_out`).
    marker : str
        A line that every figure and table of this profile shows; "" where none is due.
    missing : str
        Why the profile cannot run yet; "" where it can.
    max_new_tokens : int
        Longest answer; 0 for what the official script of each benchmark allows.
    study : str
        The table or figure that it was narrowed to (`for_study`); "" for the whole profile.
    limit : int
        At most so many samples of each benchmark; 0 where nothing was limited.
    moved_cuts : bool
        Whether methods cut after layers that read the image (`moved_cuts`), miniatures only.
    """

    name: str
    model: str
    benchmarks: tuple[str, ...]
    samples_per_benchmark: int
    seed: int
    dtype: str
    attention: str
    batch: int
    device: str
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    marker: str
    missing: str = ""
    max_new_tokens: int = 8
    study: str = ""
    limit: int = 0
    moved_cuts: bool = False

    @property
    def base(self) -> str:
        """The profile's name without the limit: "mini" of "mini-16"."""
        return self.name.removesuffix(f"-{self.limit}")

    def for_study(self, name: str) -> Profile:
        """Return the profile narrowed to one of `studies.STUDIES`.

        Raises
        ------
        ValueError
            There is no such study, and the message lists the known ones; or it belongs to another
            profile.
        """
        if name not in STUDIES:
            raise ValueError(f"unknown study {name!r}; known: {', '.join(STUDIES)}")
        study, base = STUDIES[name], self.base
        if study.only not in ("", base):
            raise ValueError(f"the study {name!r} belongs to profile {study.only!r}, not {base!r}")
        narrowed = replace(
            self,
            name=base,
            study=name,
            limit=0,
            model=study.models.get(base, self.model),
            benchmarks=study.benchmarks,
            methods=study.methods,
            budgets=study.budgets,
            samples_per_benchmark=study.samples.get(base, self.samples_per_benchmark),
            dtype=study.dtypes.get(base, self.dtype),
            marker=study.markers.get(base, self.marker),
            moved_cuts=study.moved_cuts,
        )
        return _limited(narrowed, self.limit) if self.limit else narrowed

    def require_runnable(self) -> None:
        """Raise `NotImplementedError` with the reason if this profile cannot run yet."""
        if self.missing:
            raise NotImplementedError(f"profile {self.name!r} cannot run: {self.missing}")


_MINI = Profile(
    name="mini",
    model="mini-llava",
    benchmarks=BENCHMARKS,
    samples_per_benchmark=128,
    seed=0,
    dtype="float32",
    attention="sdpa",
    batch=16,
    device="cpu",
    methods=METHODS,
    budgets=BUDGETS,
    marker="miniature model, not LLaVA-1.5",
)
_A100 = Profile(
    name="a100",
    model="llava-hf/llava-1.5-7b-hf",
    benchmarks=BENCHMARKS,
    samples_per_benchmark=0,
    seed=0,
    dtype="float16",
    attention="sdpa",
    batch=1,
    device="cuda",
    methods=METHODS,
    budgets=BUDGETS,
    marker="",
    max_new_tokens=0,
)
_SHAPE = Profile(
    name="shape",
    model="llava-hf/llava-1.5-7b-hf",
    benchmarks=(),
    samples_per_benchmark=0,
    seed=0,
    dtype="float16",
    attention="sdpa",
    batch=1,
    device="cuda",
    methods=METHODS,
    budgets=BUDGETS,
    marker="random weights at full size: speed only, no accuracy",
    missing="it has no accuracy; measure time and memory at full size with "
    "`python -m sparsevlm bench --shape NAME`",
)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in (_MINI, _A100, _SHAPE)}


def get_profile(name: str) -> Profile:
    """Return the profile called `name`.

    "mini-8" is "mini" with at most 8 samples per benchmark: another profile, with runs, artifacts
    and figures of its own, whose marker says so.

    Raises
    ------
    ValueError
        If there is none (the message lists the known ones), or it is limited to less than one
        question of every benchmark.
    """
    base, limit = name, 0
    if found := re.fullmatch(r"(.+)-([1-9]\d*)", name):
        base, limit = found[1], int(found[2])
    if base not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
    return _limited(PROFILES[base], limit) if limit else PROFILES[base]


def _limited(profile: Profile, limit: int) -> Profile:
    if limit < MIN_LIMIT:
        raise ValueError(
            f"at least {MIN_LIMIT} samples are needed, because MMBench asks a question up to "
            f"{MIN_LIMIT} times with its options rotated; got {limit}"
        )
    said = f"at most {limit} samples of each benchmark"
    return replace(
        profile,
        name=f"{profile.name}-{limit}",
        limit=limit,
        samples_per_benchmark=min(limit, profile.samples_per_benchmark or limit),
        marker=f"{profile.marker}; {said}" if profile.marker else said,
    )
