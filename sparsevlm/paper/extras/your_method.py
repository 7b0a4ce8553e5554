"""The reader's own scoring function on sample pictures, and beside the methods that are known."""

from __future__ import annotations

from dataclasses import replace
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure

from sparsevlm.analysis import panels, study
from sparsevlm.analysis.examples import examples_of
from sparsevlm.analysis.observe import AskedExample, ask_example
from sparsevlm.analysis.study import OURS, Results
from sparsevlm.analysis.style import METHOD_STYLE, method_styles
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.loaded import forget_models, load_model
from sparsevlm.evaluation.plan import DENSE, plan_runs
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.run import Record
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import ensure_records
from sparsevlm.evaluation.workers import execute_together
from sparsevlm.methods import Method

STUDY = "your_method"
PICTURES = 2


def survivors(profile: Profile, method: Method) -> dict[str, list[AskedExample]]:
    """Ask about two sample pictures under SparseVLM and a method, at the study's least budget.

    By name of the method, in the order of the pictures.
    """
    narrowed = profile.for_study(STUDY)
    loaded, tokens = load_model(narrowed), min(narrowed.budgets)
    examples = examples_of(loaded).drawn(PICTURES)
    pruners = {name: loaded.sizes.pruner(name, tokens) for name in (OURS, method.name)}
    return {
        name: [ask_example(loaded, example, pruner) for example in examples]
        for name, pruner in pruners.items()
    }


def draw_survivors(asked: dict[str, list[AskedExample]], method: Method) -> Figure:
    """Draw every picture, and beside it what each method keeps of it, with question and answers."""
    side, step, part = 1.04, 1.1, 3.4
    parts = [(n * part, 0.0, n * part + 3.25, 1.7) for n in range(PICTURES)]
    canvas = panels.Canvas(part * PICTURES - 0.05, 1.7, parts)
    names = {OURS: "SparseVLM", method.name: method.label}
    for number, examples in enumerate(zip(*(asked[name] for name in names), strict=True)):
        left, first = number * part + 0.02, examples[0]
        canvas.text(left, 0.04, panels.shortened(first.example.question, 56), weight="bold")
        panels.draw_survivors(canvas.panel(left, 0.2, side, side), first.image, first.grid)
        told = f"true: {first.example.answer}" if first.example.answer else "the picture"
        canvas.text(left, 0.24 + side, told, size=6)
        for column, (label, one) in enumerate(zip(names.values(), examples, strict=True), start=1):
            at, last = left + column * step, one.sample.stages[-1]
            panel = canvas.panel(at, 0.2, side, side)
            panels.draw_survivors(panel, one.image, one.grid, last.kept, last.groups)
            canvas.text(at, 0.24 + side, panels.shortened(label), size=6)
            canvas.text(at, 0.35 + side, panels.shortened(f"answers: {one.answer.text}"), size=6)
    return canvas.figure


def measure(profile: Profile, method: Method) -> Results:
    """Compare a method of one's own with those of the study, paired, at every budget.

    The others' results are shared with every notebook. A function in memory has no code that an id
    could name, so its answers are made anew in a folder that is removed afterwards.

    Raises
    ------
    RunError
        Some runs could not be finished.
    ValueError
        The function returns no scores; see `sparsevlm.ScorePruner`.
    """
    narrowed, backend = profile.for_study(STUDY), backend_of(profile.for_study(STUDY).model)
    METHOD_STYLE.update(method_styles({method.name: method}))
    records = ensure_records(narrowed) + _own_records(replace(narrowed, methods=(method.name,)))
    both = replace(narrowed, methods=(method.name, *narrowed.methods))
    noted = both.noted(backend.note(both.benchmarks))
    return study.from_records(noted, records, backend.sizes(both.model), method.name)


def _own_records(profile: Profile) -> list[Record]:
    from tqdm import tqdm

    backend, threads = backend_of(profile.model), torch.get_num_threads()
    forget_models()
    torch.set_num_threads(1)  # as a worker has: the last digits of its numbers are the same
    try:
        with TemporaryDirectory() as folder:
            store = Store(folder)
            planned = plan_runs(profile, backend=backend, store=store)
            runs = [run for run in planned if run.method != DENSE]
            with tqdm(total=sum(run.num_samples for run in runs), unit="samples",
                      mininterval=10) as bar:  # fmt: skip
                for name in profile.benchmarks:
                    asked = [run for run in runs if run.benchmark == name]
                    for error in execute_together(asked, store, backend, bar.update).values():
                        raise error
            records = [store.load(run) for run in runs]
            return [replace(one, predictions=tuple(one.predictions)) for one in records]
    finally:
        torch.set_num_threads(threads)
