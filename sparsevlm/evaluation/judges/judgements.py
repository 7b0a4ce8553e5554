"""Whose verdicts a table shows: those of one judge on all its runs, or none.

Numbers of two judges never stand in one table, nor judged ones beside matched ones. A judge counts
where it has judged every run of a study that it could. Where several have, none counts until one is
named, and the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Template

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.judges.interface import JudgeError
from sparsevlm.evaluation.judges.prompts import TASKS, Task
from sparsevlm.evaluation.judges.records import judge_id, read_verdicts, verdict_paths
from sparsevlm.evaluation.judges.replies import FORMAT
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.run import Record
from sparsevlm.evaluation.results.store import Store

MATCH = "match"  # the choice of no judge
SHOWN = 3  # runs that a sentence names
SENTENCES = Path(__file__).parents[1] / "templates" / "judging.txt.j2"


@dataclass(frozen=True)
class Judgement:
    """The verdicts of one judge, by run id and sample id, each as in a row's "verdict"."""

    judge: Mapping
    verdicts: dict[str, Mapping[str, Mapping]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits."""
        return judge_id(self.judge)

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.judge["model"]

    @property
    def name(self) -> str:
        """For people: model, where it is, reading and id."""
        return name_of(self.judge)


@dataclass(frozen=True)
class Judging:
    """How the open answers of a study are judged, if there are any.

    Attributes
    ----------
    task : Task or None
        Video questions or MM-Vet; None where nothing is open, or verdicts do not matter.
    runs : dict of str
        Titles of the runs that can be judged, by id.
    used : Judgement or None
        The judge of all these runs; None where they are matched by rule.
    others : sequence of Judgement
        Where there is none: judges of some of them, or several judges of all.
    """

    task: Task | None = None
    profile: Profile | None = None
    runs: Mapping[str, str] = field(default_factory=dict)
    used: Judgement | None = None
    others: Sequence[Judgement] = ()

    def of(self, benchmark: str) -> Judgement | None:
        """Return the verdicts that the scores of a benchmark are made of; None for a match."""
        return self.used if benchmark in TASKS else None

    def rows(self, record: Record) -> Sequence[Mapping]:
        """Return the predictions of a record, each with its "verdict" where there are any."""
        if not self.of(record.run.benchmark):
            return record.predictions
        verdicts = self.used.verdicts[record.id]
        return [{**row, "verdict": verdicts[row["id"]]} for row in record.predictions]

    def aggregate(self, benchmark: str) -> Callable:
        """Return how the counts of such rows become a score."""
        return (TASKS if self.of(benchmark) else BENCHMARKS)[benchmark].aggregate

    def __str__(self) -> str:
        """Who judged, or that a rule did and which command judges; "" where nothing is open."""
        if self.task is None:
            return ""
        names = self.profile.benchmarks
        labels = [BENCHMARKS[name].label for name in names if TASKS.get(name) is self.task]
        used = self.used.verdicts.values() if self.used else ()
        verdicts = [verdict for one in used for verdict in one.values()]
        left = {
            one.id: [title for run, title in self.runs.items() if run not in one.verdicts]
            for one in self.others
        }
        about = {"labels": labels, "verdicts": verdicts, "left": left, "shown": SHOWN}
        page = Template(SENTENCES.read_text(encoding="utf-8"))
        said = page.render(about, judging=self, command=command(self.profile))
        return " ".join(said.split())


MATCHED = Judging()  # by rule, whatever verdicts there are


def command(profile: Profile) -> str:
    """Return the command that has the answers of a study judged."""
    options = profile.options.replace("--model", "--answered-by")
    return f"sparsevlm judge endpoint {options} --only {profile.study}"


def name_of(judge: Mapping) -> str:
    """Return a judge's identity for people: model, where it is, reading and id."""
    where = {
        "endpoint": f"at {urlsplit(judge.get('address', '')).netloc}",
        "open": f"at {judge.get('revision', '')[:12]}",
    }[judge["kind"]]
    return f"{judge['model']} {where} ({judge['reading']} reading, judge {judge_id(judge)})"


def judging_of(
    profile: Profile, records: Sequence[Record], choice: str = "", store: Store | None = None
) -> Judging:
    """Return how the answers of a study are judged; its open questions are all of one task.

    Parameters
    ----------
    choice : str
        A judge's id or the name of its model; "match" for none; "" for the only one that has judged
        all runs.

    Raises
    ------
    JudgeError
        Not just one judge of the chosen name has judged all runs.
    """
    if not (own := [record for record in records if record.run.benchmark in TASKS]):
        return MATCHED
    runs = {record.id: record.run.title for record in own}
    judging = Judging(TASKS[own[0].run.benchmark], profile, runs)
    found = [] if choice == MATCH else _found(own, store or Store())
    whole = [one for one in found if len(one.verdicts) == len(runs)]
    chosen = [one for one in whole if choice in ("", one.id, one.model)]
    if len(chosen) == 1:
        return replace(judging, used=chosen[0])
    if choice in ("", MATCH):
        return replace(judging, others=found)
    known = ", ".join(f"{one.name}: {len(one.verdicts)} of {len(runs)} runs" for one in found)
    raise JudgeError(
        f"expected one judge {choice!r} that has judged all {len(runs)} runs of "
        f"{judging.task.name}, found {len(chosen)} (judged by {known or 'none'}); name one "
        f"by its id, as in `-p judge ID`, or take the rule with `-p judge {MATCH}`"
    )


def _found(records: Sequence[Record], store: Store) -> list[Judgement]:
    """Return every judge with its verdicts; replies that were read by older rules do not count."""
    found: dict[str, Judgement] = {}
    for record in records:
        for path in verdict_paths(record.id, store):
            values = read_verdicts(path, record.predictions)
            judge = values["judge"]
            if judge["kind"] != MATCH and judge["format"] == FORMAT:
                one = found.setdefault(values["judge_id"], Judgement(judge))
                one.verdicts[record.id] = values["verdicts"]
    return [found[key] for key in sorted(found)]
