"""The command `judge`: it has the answers of finished runs judged, by a model or by their match."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.evaluation.judges.chat import family_of
from sparsevlm.evaluation.judges.endpoint import MODEL, EndpointJudge, default_address
from sparsevlm.evaluation.judges.interface import CostEstimate, Judge, Row, Verdict
from sparsevlm.evaluation.judges.judgements import name_of
from sparsevlm.evaluation.judges.open_model import OpenJudge
from sparsevlm.evaluation.judges.prompts import MM_VET, TASKS, Prompt, Task
from sparsevlm.evaluation.judges.records import FOLDER, judge_records
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.studies import studies, studies_of


@dataclass(frozen=True)
class MatchJudge:
    """Says yes with 5 points where the answer matches, else no with 0; MM-Vet: the share of facts.

    The rule itself is part of a run's id, so it is not part of `identity`.
    """

    task: Task

    def identity(self) -> dict:
        return {"kind": "match", "task": self.task.name}

    def estimate(self, rows: Sequence[Row]) -> CostEstimate:
        return CostEstimate(len(rows))

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        if self.task is MM_VET:
            return [Verdict(score=mmvet.score_sample(row)) for row in rows]
        right, wrong = Verdict(pred="yes", score=videoqa.BEST), Verdict(pred="no", score=0)
        return [right if videoqa.score_sample(row) else wrong for row in rows]


def runs_of(profile: Profile, names: Sequence[str] = ()) -> list[EvaluationRun]:
    """Return the runs of the named notebooks or studies, or of all, where there is what to judge.

    Raises
    ------
    ValueError
        A name is of no study.
    """
    known = [name for name, one in studies().items() if one.only in ("", profile.name)]
    wanted = [study for name in names for study in studies_of(name)] if names else known
    if unknown := [name for name in names if not studies_of(name)]:
        raise ValueError(f"{unknown[0]!r} reads no study; known: {', '.join(known)}")
    narrowed = [profile.for_study(study) for study in dict.fromkeys(wanted)]
    narrowed = [one for one in narrowed if TASKS.keys() & set(one.benchmarks)]
    return list(dict.fromkeys(run for one in narrowed for run in plan_runs(one)))


def run(options: SimpleNamespace, runs: Sequence[EvaluationRun], store: Store) -> Iterator[str]:
    """Judge the finished runs and yield one line for each; those that need no judge are left out.

    Parameters
    ----------
    options : SimpleNamespace
        `judge` (match, open or endpoint), `model`, `revision`, `address`, `key_variable`,
        `max_tokens`, `limit_field`, `fields` (JSON), `price` (two numbers or None), `prompt` (file
        or None), `reading` (of videos), `device`, `parallel`, `yes`.

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
        lambda task: _announced(make_judge(options, task, prompt, store)),
        confirm=lambda estimate: _confirmed(estimate, options.yes),
    )
    for record, scores in judged:
        yield _line(record.run, scores)


def _announced(judge: Judge) -> Judge:
    if not isinstance(judge, MatchJudge):
        print(f"sparsevlm: the judge is {name_of(judge.identity())}", file=sys.stderr)
    return judge


def make_judge(options: SimpleNamespace, task: Task, prompt: Prompt | None, store: Store) -> Judge:
    """Return the judge that the options name."""
    if options.judge == "match":
        return MatchJudge(task)
    common = {"task": task, "folder": store.folder / FOLDER, "prompt": prompt}
    common["max_tokens"] = options.max_tokens
    if options.reading in task.readings:
        common["reading"] = options.reading
    if options.judge == "open":
        chosen = {"model": options.model, "revision": options.revision} if options.model else {}
        return OpenJudge(**common, **chosen, device=options.device)
    model = options.model or MODEL
    price_in, price_out = options.price or (None, None)
    return EndpointJudge(
        **common,
        model=model,
        address=options.address or default_address(),
        key_variable=options.key_variable,
        options=_fields(options.fields, model),
        limit_field=options.limit_field,
        price_in=price_in,
        price_out=price_out,
        parallel=options.parallel,
    )


def _fields(text: str, model: str) -> dict:
    """Return the fields of a request: those of the model's family, changed as asked for."""
    try:
        values = {**family_of(model).options, **json.loads(text)}
    except (ValueError, TypeError):
        raise ValueError(f"--fields must be a JSON object, got {text!r}") from None
    return {name: value for name, value in values.items() if value is not None}


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
