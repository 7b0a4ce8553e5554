"""What maintainers publish: figures and claims of a finished run, nothing of an unfinished one."""

from __future__ import annotations

import json

import pytest

from sparsevlm.cli import runner, suite
from sparsevlm.cli import shipping as publishing
from sparsevlm.cli.runner import NotebookRun
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.paper.claims.claim import ClaimReport
from sparsevlm.paper.page import Page

SVG = "<svg><metadata>{}</metadata>{}</svg>"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan of one notebook, in a repository that shows an older figure of it."""
    for module in (publishing, runner):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(publishing, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(publishing, "PUBLISHED", tmp_path / "CLAIMS.md")
    monkeypatch.setattr(publishing, "SHIPPED", tmp_path / "answers.jsonl.xz")
    monkeypatch.setattr(publishing, "collect", lambda: ClaimReport((), {}))
    monkeypatch.setattr(NotebookRun, "inputs_id", lambda run: "these")
    (tmp_path / "figures" / "mini").mkdir(parents=True)
    for name in ("probe.pdf", "gone.pdf"):
        (tmp_path / "figures" / name).write_text("old")
    (tmp_path / "figures" / "probe.svg").write_text(SVG.format("0" * 16, 1))
    (tmp_path / "figures" / "probe.data.csv").write_text("2.5")
    mini = get_profile("mini")
    run = NotebookRun(Page("probe", mini, {}, {}), (), tmp_path, tmp_path / "artifacts")
    return suite.Plan(mini, (), (run,), Store(tmp_path / "results"))


def finished(run, folder, drawn=2, number="2.5"):
    """Let a notebook have written one figure, of other runs than the one that is shown."""
    svg = SVG.format("1" * 16, drawn)
    made = {"probe.pdf": "new", "probe.svg": svg, "probe.data.csv": number}
    for name, text in {**made, "probe_tokens-8.pdf": "of another run"}.items():
        (folder / "figures" / "mini" / name).write_text(text)
    stamp = run.output(".stamp.json")
    stamp.parent.mkdir(parents=True)
    outputs = [f"figures/mini/{name}" for name in made]
    stamp.write_text(json.dumps({"inputs": "these", "outputs": outputs}))


def test_nothing_of_an_unfinished_run_is_published(plan, tmp_path):
    with pytest.raises(RuntimeError, match=r"1 of 1 notebooks .* \(the first: probe\)"):
        publishing.publish(plan)
    assert (tmp_path / "figures" / "probe.pdf").read_text() == "old"
    assert not (tmp_path / "CLAIMS.md").exists()


def test_figures_and_claims_of_a_finished_run_are_published(plan, tmp_path):
    finished(plan.notebooks[0], tmp_path)
    publishing.publish(plan)
    shown = {path.name: path.read_text() for path in (tmp_path / "figures").glob("*.pdf")}
    assert shown == {"probe.pdf": "new"}
    assert (tmp_path / "figures" / "probe.svg").read_text() == SVG.format("1" * 16, 2)
    assert (tmp_path / "CLAIMS.md").read_text().startswith("# Claims")
    assert (tmp_path / "answers.jsonl.xz").exists()


@pytest.mark.parametrize(("number", "left"), [("2.5", "old"), ("2.6", "new")])
def test_a_figure_is_left_as_it_is_where_only_its_runs_have_other_ids(number, left, plan, tmp_path):
    finished(plan.notebooks[0], tmp_path, drawn=1, number=number)
    publishing.publish(plan)
    assert (tmp_path / "figures" / "probe.pdf").read_text() == left
    assert (tmp_path / "figures" / "probe.data.csv").read_text() == number
