"""`sparsevlm check --profile a100 --only table_1`: is everything there, and what will it take?

Looks at versions, GPU, disk, checkpoints, data and judge, and estimates every table, before
anything long starts. Reads sizes and, of the tokenizers, contents; `fetch --check` reads weights.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from httpx import URL

from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.benchmarks.loaders import layout_of, part_of, verify
from sparsevlm.cli.preflight_estimate import Needs, TimeEstimate, estimate
from sparsevlm.cli.preflight_machine import GB, Finding, disk, gpu, software
from sparsevlm.evaluation.backends import CheckpointBackend
from sparsevlm.evaluation.judges.endpoint import KEY_VARIABLE, default_address, is_local
from sparsevlm.evaluation.judges.prompts import TASKS
from sparsevlm.evaluation.paths import RESULTS
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.models.checkpoints.contents import family_and_config, files_of
from sparsevlm.models.checkpoints.declared import Checkpoint
from sparsevlm.models.checkpoints.loading import builder_of
from sparsevlm.models.checkpoints.places import CheckpointError, locate
from sparsevlm.models.prompts.official import differences, prompts_of


def main(profile: Profile, needs: Needs, source: CheckpointBackend | None = None) -> int:
    """Print what is there for the notebooks, then estimates; 0 if nothing is missing, else 1."""
    source = source or CheckpointBackend()
    whole = estimate(needs.settings, needs.models, source.quantization)
    found = list(software(needs, source.quantization))
    if needs.models:
        found += gpu(profile, needs.gib(source.quantization))
    weights = list(checkpoints(needs.models.values(), source))
    tables = list(data(needs.benchmarks, source))
    found += weights + tables
    found += disk(
        ("checkpoints", Path(source.checkpoints), sum(finding.size for finding in weights)),
        ("data with what is unpacked", Path(source.data), sum(finding.size for finding in tables)),
        ("results", RESULTS, whole.disk),
    )
    if TASKS.keys() & set(needs.benchmarks):
        found.append(judge())
    for finding in found:
        print(str(finding))
    print()
    _say_hours(profile, needs, whole, source)
    print()
    lacking = sum(finding.state == "missing" for finding in found)
    names = dict.fromkeys(finding.fetch for finding in found if finding.fetch)
    if names:
        print(f"To get what can be fetched: sparsevlm fetch {' '.join(names)}")
    print("check: ready to start" if not lacking else f"check: {lacking} thing(s) missing")
    return 1 if lacking else 0


def _say_hours(
    profile: Profile, needs: Needs, whole: TimeEstimate, source: CheckpointBackend
) -> None:
    """Print what every notebook will take, and all together."""
    if not whole.runs:
        print("No benchmark is asked, so this takes minutes of a GPU, not hours.")
        return
    print(
        "Estimates for one A100-80G at batch 1, not measurements (preflight_estimate.py says from "
        f"what), profile {profile.slug}:"
    )
    for name, settings in needs.notebooks.items():
        if settings:
            print(_line(name, estimate(settings, needs.models, source.quantization)))
    print(_line("total", whole))
    if len(needs.notebooks) > 1:
        print(
            f"In total {whole.hours:.1f} GPU hours are paid for: runs that several of these share "
            "are run once, and counted once."
        )


def _line(name: str, e: TimeEstimate) -> str:
    return (
        f"  {name:<12} {e.runs:>4} runs {e.answers:>9,} answers {e.hours:>7.1f} GPU hours "
        f"{e.gib:>5.0f} GiB of GPU memory {e.disk / GB:>5.1f} GB of results"
    )


def checkpoints(models: Iterable[Checkpoint], source: CheckpointBackend) -> Iterator[Finding]:
    """Look at every checkpoint, and whether its tokenizer puts the image where it belongs."""
    for model in models:
        whole = True
        for repository in model.repositories:
            try:
                where = locate(repository, Path(source.checkpoints))
                yield Finding(repository.id, f"complete in {where}")
            except CheckpointError as error:
                whole = whole and not repository.required
                state = "missing" if repository.required else "note"
                size = repository.about_bytes
                yield Finding(repository.id, "not complete", state, str(error), model.short, size)
        if whole:
            yield from prompts(model, source)


def data(benchmarks: Iterable[str], source: CheckpointBackend) -> Iterator[Finding]:
    """Look at the data folder of every benchmark."""
    for name in benchmarks:
        folder = Path(source.data) / layout_of(name).folder
        if wrong := verify(name, folder, complete=source.complete):
            parts = datasets()[name].repositories
            size = sum(part.about_bytes for part in parts)
            unpacked = sum(source.of.about_bytes for source in datasets()[name].sources)
            ids = dict.fromkeys(f"{part.id} @ {part.revision[:12]}" for part in parts)
            get = f"`sparsevlm fetch {name}` gets about {size / GB:.1f} GB from {', '.join(ids)}"
            state, why = "not complete", f"{wrong[0]}; "
            if not folder.is_dir():
                state, why = f"not in {folder}", ""
            yield Finding(f"data of {name}", state, "missing", why + get, name, size + unpacked)
        elif part := part_of(folder):
            yield Finding(
                f"data of {name}", f"a part in {folder}, {part.note} ({part.rows} questions)",
                "note", "tables and figures say so, and no claim is judged by it",
            )  # fmt: skip
        else:
            yield Finding(f"data of {name}", f"complete in {folder}")


def prompts(model: Checkpoint, source: CheckpointBackend) -> Iterator[Finding]:
    """Compare a prompt or more of every benchmark, token for token, with the official ones."""
    folder = Path(source.checkpoints)
    area = f"prompts of {model.short}"
    try:
        family, config = family_and_config(model.name, folder)
        builder = builder_of(family, config, files_of(model.name, folder)[0])
        wrong = list(differences(family, builder))
    except (CheckpointError, OSError, ValueError) as error:
        yield Finding(area, "cannot be made", "missing", str(error).splitlines()[0])
        return
    todo = (
        f"`sparsevlm fetch --check {model.short}` looks at the tokenizer's files; if they are the "
        "release's, use the packages of requirements.lock"
    )
    yield from (Finding(area, difference, "missing", todo) for difference in wrong)
    if not wrong:
        benchmarks = dict.fromkeys(prompt["benchmark"] for prompt in prompts_of(family))
        what = f"those of {', '.join(benchmarks)} are the official ones, token for token"
        yield Finding(area, what)


def judge() -> Finding:
    """Look at the address of a judge and at its key, which a server on this machine does not need.

    Without a judge, answers are matched.
    """
    address, todo = default_address(), (
        "MM-Vet and the video sets are matched by rule; for judged scores set it, or "
        "OPENAI_BASE_URL to a server on this machine, or use `sparsevlm judge open`"
    )  # fmt: skip
    if not is_local(address) and not os.environ.get(KEY_VARIABLE):
        return Finding("judge", f"{KEY_VARIABLE} is not set", "note", todo)
    url = URL(address)
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        socket.create_connection((url.host, port), timeout=5).close()
    except (OSError, KeyError) as error:
        todo = "start the server, or check OPENAI_BASE_URL and the network"
        return Finding("judge", f"{address} cannot be reached ({error})", "note", todo)
    key = "it needs no key" if is_local(address) else f"{KEY_VARIABLE} is set"
    return Finding("judge", f"{address} answers and {key}")
