"""The command `judge`: it has the answers of finished runs judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace

from sparsevlm.evaluation.judges.endpoint import EndpointJudge
from sparsevlm.evaluation.judges.interface import CostEstimate, Judge
from sparsevlm.evaluation.judges.match import MatchJudge
from sparsevlm.evaluation.judges.open_model import OpenJudge
from sparsevlm.evaluation.judges.prompts import Prompt, Task
from sparsevlm.evaluation.judges.records import judge_records, transcripts_folder
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store


def run(options: SimpleNamespace, runs: Sequence[EvaluationRun], store: Store) -> list[str]:
    """Judge the finished runs and return one line for each.

    Parameters
    ----------
    options : SimpleNamespace
        `judge` (match, open or endpoint), `model`, `revision`, `address`, `key_variable`, `price`
        (two numbers or None), `prompt` (file or None), `reading` (of videos), `device`, `parallel`,
        `yes`.
    runs : sequence of EvaluationRun
        Those that are not finished, or need no judge, are left out.
    store : Store
        Where the records are.

    Raises
    ------
    JudgeError
        The judge cannot go on, or its price was not confirmed.
    ValueError
        The options contradict each other.
    """
    prompt = Prompt.from_file(options.prompt) if options.prompt else None
    judged = judge_records(
        [store.load(run) for run in runs if store.has(run)],
        store,
        lambda task: make_judge(options, task, prompt, store),
        confirm=lambda estimate: _confirmed(estimate, options.yes),
    )
    return [_line(record.run, scores) for record, scores in judged]


def make_judge(options: SimpleNamespace, task: Task, prompt: Prompt | None, store: Store) -> Judge:
    """Return the judge that the options name."""
    if options.judge == "match":
        return MatchJudge(task)
    common = {"task": task, "folder": transcripts_folder(store), "prompt": prompt}
    if options.reading in task.readings:
        common["reading"] = options.reading
    if options.judge == "open":
        chosen = {"model": options.model, "revision": options.revision} if options.model else {}
        return OpenJudge(**common, **chosen, device=options.device)
    if not options.model:
        raise ValueError("an endpoint needs the name of its model; a dated one, if there is any")
    price_in, price_out = options.price or (None, None)
    return EndpointJudge(
        **common,
        model=options.model,
        address=options.address,
        key_variable=options.key_variable,
        price_in=price_in,
        price_out=price_out,
        parallel=options.parallel,
    )


def _confirmed(estimate: CostEstimate, yes: bool) -> bool:
    print(f"sparsevlm: {estimate}", file=sys.stderr)
    if yes or estimate.price == 0:
        return True
    if not sys.stdin.isatty():
        print("sparsevlm: add --yes to go on", file=sys.stderr)
        return False
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def _line(run: EvaluationRun, scores: dict) -> str:
    """Return a run's result in words; the judge's numbers never without those left out."""
    judge = scores["judge"]
    shown = f"{judge['accuracy']:.1f} % right, " if "accuracy" in judge else ""
    return (
        f"{run.title}: {shown}score {judge['score']:.2f}, "
        f"{judge['judged']} verdicts, {judge['broken']} broken; match {scores['score']:.1f} %"
    )
