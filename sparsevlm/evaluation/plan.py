"""Which runs a profile has.

Naming a run takes the digest of its questions and images, and making them takes seconds, so the
plan is kept in a file and read back as long as no source, setting or weight has changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.backends import EvalBackend, backend_of, versioned_samples
from sparsevlm.evaluation.digests import ANSWER, code_digest
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.run import EvaluationRun, canonical_json, digest
from sparsevlm.evaluation.results.store import Store
from sparsevlm.models.atomic import write_text

log = logging.getLogger(__name__)

DENSE = "dense"


@cache
def package_digest(folder: Path = ROOT / "sparsevlm") -> str:
    """Return the digest of the package's files, on which plans and notebooks depend."""
    parts: list[str | bytes] = []
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    for path in sorted(files):  # templates and styles too
        parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return digest(*parts)


def plan_runs(
    profile: Profile | str, *, backend: EvalBackend | None = None, store: Store | None = None
) -> list[EvaluationRun]:
    """Return the runs of a profile: per benchmark the dense model, then methods by budget.

    Parameters
    ----------
    profile : Profile or str
        What to run.
    backend : EvalBackend, optional
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
    profile.require_runnable()
    backend = backend or backend_of(profile.model)
    revision = backend.revision(profile.model)
    path = _plan_path(profile, backend, revision, store or Store())
    try:
        return [
            EvaluationRun.from_json(run) for run in json.loads(path.read_text(encoding="utf-8"))
        ]
    except FileNotFoundError:
        log.info("planning the runs of profile %s", profile.name)
    except (ValueError, TypeError) as error:
        log.warning("the plan %s is damaged (%s) and is made again", path, error)
    runs = list(_runs(profile, backend, revision))
    for old in path.parent.glob(f"{_plan_name(profile)}-*.json"):
        old.unlink(missing_ok=True)
    write_text(path, json.dumps([run.to_json() for run in runs], indent=0))
    return runs


def _plan_path(profile: Profile, backend: EvalBackend, revision: str, store: Store) -> Path:
    inputs = {
        "profile": asdict(profile),
        "source": repr(backend),
        "revision": revision,
        "data": backend.note(profile.benchmarks),
        "code": package_digest(),
        "versions": provenance.versions(),
    }
    return store.folder / "plans" / f"{_plan_name(profile)}-{digest(canonical_json(inputs))}.json"


def _plan_name(profile: Profile) -> str:
    return f"{profile.slug}.{profile.study}" if profile.study else profile.slug


def _runs(profile: Profile, backend: EvalBackend, revision: str) -> Iterator[EvaluationRun]:
    for setting in _settings(profile, backend):
        asked = setting["benchmark"], profile.samples_per_benchmark, profile.seed
        samples, version = versioned_samples(backend, profile.model, *asked)
        yield EvaluationRun(
            model=profile.model,
            revision=revision,
            samples=version,
            num_samples=len(samples),
            seed=profile.seed,
            dtype=profile.dtype,
            attention=profile.attention,
            batch=profile.batch,
            device=profile.device,
            **setting,
        )


def _settings(profile: Profile, backend: EvalBackend) -> Iterator[dict]:
    """The fields of a profile's runs that follow from benchmark and method; no sample is drawn."""
    sizes = backend.sizes(profile.model)
    # What decides the inputs, whatever is asked and however it is pruned.
    shared = (ANSWER, *backend.modules(profile.model))
    settings = [(DENSE, None)] + [(m, b) for m in profile.methods for b in profile.budgets]
    for benchmark in profile.benchmarks:
        scorer = get_benchmark(benchmark)
        for method, tokens in settings:
            pruner = sizes.pruner(method, tokens)
            parts = (pruner, getattr(pruner, "inner", pruner))
            code = (*shared, *(type(part).__module__ for part in parts), *scorer.modules)
            yield {
                "benchmark": benchmark,
                "method": method,
                "tokens": tokens,
                "pruner": canonical_json(pruner.to_json()),
                "max_new_tokens": profile.max_new_tokens or scorer.max_new_tokens,
                "algorithm": code_digest(code),
            }


def algorithms(profile: Profile) -> set[str]:
    """Return the digests of the code that a profile's runs depend on; no sample is drawn."""
    return {setting["algorithm"] for setting in _settings(profile, backend_of(profile.model))}
