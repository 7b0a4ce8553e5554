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
    mini = get_profile("mini")
    run = NotebookRun(Page("probe", mini, {}, {}), (), tmp_path, tmp_path / "artifacts")
    return suite.Plan(mini, (), (run,), Store(tmp_path / "results"))


def finished(run, folder):
    """Let a notebook have written one figure."""
    (folder / "figures" / "mini" / "probe.pdf").write_text("new")
    (folder / "figures" / "mini" / "probe_tokens-8.pdf").write_text("of another run")
    stamp = run.output(".stamp.json")
    stamp.parent.mkdir(parents=True)
    stamp.write_text(json.dumps({"inputs": "these", "outputs": ["figures/mini/probe.pdf"]}))


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
    assert (tmp_path / "CLAIMS.md").read_text().startswith("# Claims")
    assert (tmp_path / "answers.jsonl.xz").exists()
