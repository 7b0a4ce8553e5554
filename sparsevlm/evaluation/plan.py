"""Which runs a profile has.

Naming a run takes the digest of its questions and images, and making them takes seconds, so the
plan is kept in a file and read back as long as no source, setting or weight has changed.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.attention_aligned import moved_layers
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.evaluation.results.run import EvaluationRun, canonical_json, digest
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.sources import MiniatureSource, Source

log = logging.getLogger(__name__)

DENSE = "dense"


def as_profile(profile: Profile | str) -> Profile:
    """Return the profile itself, or the one of this name."""
    return get_profile(profile) if isinstance(profile, str) else profile


def source_of(profile: Profile) -> Source:
    """Return where the profile's model and questions come from.

    Raises
    ------
    NotImplementedError
        The profile cannot run yet; the message says what is missing.
    """
    profile.require_runnable()
    if profile.name.split("-")[0] == "mini":
        return MiniatureSource()
    from sparsevlm.evaluation.hub_source import HubSource

    return HubSource()


@cache
def code_digest(folder: Path = ROOT / "sparsevlm") -> str:
    """Return the digest of the package's Python files."""
    parts: list[str | bytes] = []
    for path in sorted(folder.rglob("*.py")):
        parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return digest(*parts)


# What can change an answer or its score; a change elsewhere (a figure, say) re-runs nothing.
ALGORITHM = (
    "core/*.py", "runtime/*.py", "methods/*.py", "models/*.py", "models/prompts/*.py",
    "models/mini_gemini/*.py", "benchmarks/*.py", "evaluation/workers.py",
)  # fmt: skip


@cache
def algorithm_digest(folder: Path = ROOT / "sparsevlm") -> str:
    """Return the digest of the code that prunes, answers and scores; comments do not count."""
    parts: list[str | bytes] = []
    found = {path for pattern in ALGORITHM for path in folder.glob(pattern)}
    for path in sorted(found - {folder / "__main__.py"}):  # the command line decides nothing
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                body[0] = ast.Pass()
        parts += [path.relative_to(folder).as_posix(), ast.dump(tree)]
    return digest(*parts)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def plan_runs(
    profile: Profile | str, *, source: Source | None = None, store: Store | None = None
) -> list[EvaluationRun]:
    """Return the runs of a profile: per benchmark the dense model, then methods by budget.

    Parameters
    ----------
    profile : Profile or str
        What to run.
    source : Source, optional
        Default: the profile's.
    store : Store, optional
        Where the plan is kept; default: `results/`.

    Raises
    ------
    NotImplementedError
        The profile cannot run yet.
    FileNotFoundError
        The weights are missing.
    ValueError
        An unknown profile, benchmark or method, or an impossible budget.
    """
    profile = as_profile(profile)
    source = source or source_of(profile)
    revision = source.revision(profile.model)
    path = _plan_path(profile, source, revision, store or Store())
    try:
        return [
            EvaluationRun.from_json(run) for run in json.loads(path.read_text(encoding="utf-8"))
        ]
    except FileNotFoundError:
        log.info("planning the runs of profile %s", profile.name)
    except (ValueError, TypeError) as error:
        log.warning("the plan %s is damaged (%s) and is made again", path, error)
    runs = list(_runs(profile, source, revision))
    for old in path.parent.glob(f"{_plan_name(profile)}-*.json"):
        old.unlink(missing_ok=True)
    write_text(path, json.dumps([run.to_json() for run in runs], indent=0))
    return runs


def _plan_path(profile: Profile, source: Source, revision: str, store: Store) -> Path:
    inputs = {
        "profile": asdict(profile),
        "source": repr(source),
        "revision": revision,
        "code": code_digest(),
        "versions": provenance.versions(),
    }
    return store.folder / "plans" / f"{_plan_name(profile)}-{digest(canonical_json(inputs))}.json"


def _plan_name(profile: Profile) -> str:
    return f"{profile.name}.{profile.study}" if profile.study else profile.name


def _runs(profile: Profile, source: Source, revision: str) -> Iterator[EvaluationRun]:
    shape = source.shape(profile.model)
    moved = moved_layers(profile.model) if profile.moved_cuts else None
    settings = [(DENSE, None)] + [(m, b) for m in profile.methods for b in profile.budgets]
    for benchmark in profile.benchmarks:
        n, seed = profile.samples_per_benchmark, profile.seed
        samples = source.samples(profile.model, benchmark, n, seed)
        version = source.version(profile.model, samples)
        longest = profile.max_new_tokens or get_benchmark(benchmark).max_new_tokens
        for method, tokens in settings:
            layers = None if method == DENSE else moved
            yield EvaluationRun(
                model=profile.model,
                revision=revision,
                benchmark=benchmark,
                samples=version,
                num_samples=len(samples),
                seed=profile.seed,
                method=method,
                tokens=tokens,
                pruner=canonical_json(shape.pruner(method, tokens, layers).to_json()),
                dtype=profile.dtype,
                attention=profile.attention,
                batch=profile.batch,
                max_new_tokens=longest,
                algorithm=algorithm_digest(),
                layers=layers,
                device=profile.device,
            )
