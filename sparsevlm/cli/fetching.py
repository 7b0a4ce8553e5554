"""`sparsevlm fetch NAME...`: what a table, a benchmark or a checkpoint needs, onto the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sparsevlm.cli.base import DONE, FAILED, UsageError, app, flag, option

MaybePath = Path | None
HOME = "where checkpoints go (default: $SPARSEVLM_CHECKPOINTS or ~/.cache/sparsevlm)"
DATA = "where data go (default: $SPARSEVLM_DATA or ~/.cache/sparsevlm/data)"
PROFILE = "a100"  # whose tables are meant


@app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="of notebooks, benchmarks or checkpoints; none: list them"
        ),
    ] = None,
    every: Annotated[bool, flag("--all", "all checkpoints and data")] = False,
    images: Annotated[bool, flag("--images", "the data of all image benchmarks")] = False,
    videos: Annotated[bool, flag("--videos", "the data of all video benchmarks")] = False,
    folder: Annotated[MaybePath, option(HOME, "PATH")] = None,
    data: Annotated[MaybePath, option(DATA, "PATH")] = None,
    source: Annotated[
        MaybePath, option("files that you have; right ones are used", "PATH", "--from")
    ] = None,
    check: Annotated[bool, flag("--check", "compare all files with their digests again")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "say what would be fetched")] = False,
) -> int:
    """Get the paper's checkpoints and data, whole and verified."""
    from sparsevlm.benchmarks.datasets import stocks
    from sparsevlm.evaluation.backends import default_data
    from sparsevlm.models.checkpoints import CHECKPOINTS
    from sparsevlm.models.checkpoints import fetch as fetching
    from sparsevlm.models.checkpoints.places import default_folder

    groups = [kind for kind, asked in {"image": images, "video": videos}.items() if asked]
    if names and every:
        raise UsageError("give names, or --all")
    everything = every or ((check or dry_run) and not (names or groups))
    models, benchmarks = _named(names or (), groups, everything)
    if not (models or benchmarks):
        print("\n".join(_known()))
        raise UsageError("name what to fetch, or give --all; with --dry-run nothing is fetched")
    folder, data = folder or default_folder(), data or Path(default_data())
    wanted = [fetching.of_checkpoint(one, folder) for one in CHECKPOINTS if one.name in models]
    if check:
        wanted += [stocks.kept(name, data) for name in benchmarks]
        wrong = stocks.problems(benchmarks, data) + fetching.check(wanted)
        last = f"check: {len(wrong)} problem(s)" if wrong else "check: all is well"
        print("\n".join([*wrong, last]))
        return FAILED if wrong else DONE
    wanted += [stocks.of_benchmark(name, data) for name in benchmarks]
    fetching.fetch([*wanted, stocks.tidied(data)], source=source, dry_run=dry_run)
    return DONE


def _named(
    names: Sequence[str], groups: Sequence[str], everything: bool
) -> tuple[list[str], list[str]]:
    """Checkpoints and benchmarks that are meant; UsageError for a name that means nothing."""
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.evaluation.profiles import get_profile
    from sparsevlm.evaluation.studies import belongs, studies_of
    from sparsevlm.models.checkpoints import CHECKPOINTS, find
    from sparsevlm.paper.notebooks import known_notebooks

    profile = get_profile(PROFILE)
    models = [one.name for one in CHECKPOINTS if everything]
    benchmarks = [n for n, one in BENCHMARKS.items() if everything or one.media in groups]
    for name in names:
        if name in BENCHMARKS:
            benchmarks.append(name)
        elif name in known_notebooks():
            parts = [profile.for_study(one) for one in studies_of(name) if belongs(one, PROFILE)]
            models += [part.model for part in parts or [profile]]
            benchmarks += [one for part in parts for one in part.benchmarks]
        else:
            try:
                models.append(find(name).name)  # by a repository of it
            except ValueError:
                known = [*known_notebooks(), *BENCHMARKS, *(one.short for one in CHECKPOINTS)]
                raise UsageError(f"unknown {name!r}; known: {', '.join(known)}") from None
    return list(dict.fromkeys(models)), list(dict.fromkeys(benchmarks))


def _known() -> list[str]:
    """A line for each checkpoint and each benchmark."""
    from sparsevlm.benchmarks.datasets.declared import datasets
    from sparsevlm.models.checkpoints import CHECKPOINTS
    from sparsevlm.models.checkpoints.orders import GB

    rows = [
        (one.short, sum(part.about_bytes for part in one.repositories), one.name)
        for one in CHECKPOINTS
    ]
    for name, one in datasets().items():
        parts = one.repositories
        ids = ", ".join(dict.fromkeys(part.id for part in parts))
        rows.append((name, sum(part.about_bytes for part in parts), ids))
    return [f"{name:<16} {size / GB:5.1f} GB  {where}" for name, size, where in rows]
