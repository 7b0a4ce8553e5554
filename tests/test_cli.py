"""The command line: exit codes, and errors that are one sentence and list what is known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.cli import app as cli
from sparsevlm.cli.base import app
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import get_profile, profiles
from sparsevlm.evaluation.results import provenance
from sparsevlm.models.checkpoints import CHECKPOINTS
from sparsevlm.paper.notebooks import known_notebooks


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command, in this process."""
    code = cli.main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("command", ["reproduce", "run"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "maxi"], "unknown profile 'maxi'; known: mini, a100, shape"),
        (["-p", "profile", "a100"], "chosen with --profile"),
        (["-p", "limit", "8"], "chosen with --limit"),
        (["-p", "tokens", "1", "-p", "tokens", "2"], "a parameter is set twice: tokens, tokens"),
        (["-p", "tokens"], "a parameter is -p NAME VALUE, got only 'tokens'"),
        (["--model", "llava"], "unknown model 'llava', and no folder; known: mini-llava, "),
        (["--limit", "2"], "limit must be at least 4, because MMBench"),
        (["--limit", "few"], "'--limit': Input should be a valid integer"),
        (["--limt", "8"], "No such option: --limt"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(capsys, command, arguments, message):
    code, out, err = run(capsys, command, *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize("only", [["reproduce", "--only"], ["run"]])
def test_an_unknown_notebook_lists_the_known_ones(capsys, only):
    code, _, err = run(capsys, *only, "figure_99")
    assert code == 2 and err.count("\n") == 1
    assert f"unknown notebook 'figure_99'; known: {', '.join(known_notebooks())}" in err


def test_an_unknown_parameter_lists_the_known_ones(capsys):
    code, _, err = run(capsys, "run", "figure_6", "-p", "token", "64")
    assert code == 2
    assert (
        "unknown parameter 'token' of notebook figure_6; known: profile, limit, model, tokens"
        in err
    )


def test_a_parameter_of_another_type_is_refused(capsys):
    code, _, err = run(capsys, "run", "figure_6", "-p", "tokens", "many")
    assert code == 2 and "'tokens' must be int (for example 64), got 'many'" in err


@pytest.mark.parametrize("name", [name for name, profile in profiles().items() if profile.missing])
def test_a_profile_that_cannot_run_fails_with_the_reason(capsys, name):
    code, _, err = run(capsys, "reproduce", "--profile", name)
    assert code == 1 and get_profile(name).missing in err and err.count("\n") == 1


def test_an_unknown_reading_lists_the_known_ones(capsys):
    code, _, err = run(capsys, "score", "vlmevalkit", "--profile", "mini")
    assert code == 2 and "unknown reading 'vlmevalkit' of mmbench; known: vlmevalkit-e8e7" in err


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_jobs_must_be_a_positive_number(capsys, jobs):
    code, _, err = run(capsys, "reproduce", f"--jobs={jobs}")
    assert code == 2 and "Invalid value for '--jobs': Input should be" in err


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/0"])
def test_a_shard_of_the_runs_is_one_of_several(capsys, part):
    code, _, err = run(capsys, "reproduce", f"--shard={part}")
    assert code == 2 and "must be A/B with A from 1 to B" in err


def test_limit_and_model_are_those_of_the_profile(capsys, monkeypatch):
    from sparsevlm.cli import suite

    seen = []

    def make_plan(*asked):
        seen.append(asked)
        return suite.Plan(asked[0], (), (), None)

    monkeypatch.setattr(suite, "make_plan", make_plan)
    options = ["--profile", "a100", "--limit", "100", "--model", "llava-13b", "-p", "tokens", "128"]
    assert run(capsys, "reproduce", "--only", "figure_6,tour", *options, "--dry-run")[0] == 0
    profile, names, parameters = seen.pop()
    assert profile.slug == "a100+llava-hf_llava-1.5-13b-hf-100"
    assert profile.samples_per_benchmark == profile.limit == 100
    assert run(capsys, "reproduce", *profile.options.split(), "--dry-run")[0] == 0
    assert seen.pop()[0] == profile
    assert (names, parameters) == (("figure_6", "tour"), {"tokens": "128"})


def test_a_dry_run_says_what_is_due_and_runs_nothing(capsys, monkeypatch):
    from sparsevlm.cli import suite

    monkeypatch.setattr(suite, "run_plan", None)  # would fail if it were called
    code, out, _ = run(capsys, "reproduce", "--only", "figure_6", "--dry-run", "-p", "tokens", "99")
    assert code == 0
    assert out.splitlines() == ["runs: 0 of 0, 0 samples", "notebooks: 1 of 1: figure_6"]


def test_what_failed_is_said_at_the_end_and_is_exit_code_1(capsys, monkeypatch):
    from sparsevlm.cli import suite
    from sparsevlm.paper.claims import file as claims_file

    failed = suite.Outcome(["figure_6"], [], {"run pope, dense": "out of memory"})
    plan = suite.Plan(get_profile("mini"), (), (), None)
    monkeypatch.setattr(suite, "make_plan", lambda *asked: plan)
    monkeypatch.setattr(suite, "run_plan", lambda plan, **how: failed)
    monkeypatch.setattr(claims_file, "refresh", None)  # not after a failure
    code, out, err = run(capsys, "reproduce")
    assert code == 1 and err == "sparsevlm: failed: run pope, dense: out of memory\n"
    assert "1 failed (reasons above)" in out


def test_single_claims_are_shown_and_an_unknown_one_names_its_neighbours(capsys):
    code, out, _ = run(capsys, "claims", "flops.dense", "latency.128")
    assert code == 0 and "within tolerance" in out and "slip of the paper" in out
    code, out, err = run(capsys, "claims", "flops.denes")
    assert (code, out) == (2, "") and "unknown claim 'flops.denes'; near it: flops.dense" in err
    assert run(capsys, "claims", "flops.dense", "--check")[0] == 2


def test_provenance_is_printed_as_json(capsys):
    code, out, _ = run(capsys, "provenance", str(ROOT / "figures" / "table_1.pdf"))
    assert code == 0 and json.loads(out)["figure"] == "table_1"
    code, _, err = run(capsys, "provenance", "README.md")
    assert code == 1 and "README.md is no figure" in err and err.count("\n") == 1


def test_an_unknown_command_lists_the_known_ones(capsys):
    code, _, err = run(capsys, "reproduse")
    assert code == 2 and "unknown command 'reproduse'; known: " in err and err.count("\n") == 1
    known = err.partition("known: ")[2].partition(";")[0].strip().split(", ")
    assert {"fetch", "reproduce", "run", "bench"} <= set(known)


def test_list_names_everything(capsys):
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.methods import METHODS
    from sparsevlm.paper.parameters import registered

    code, out, _ = run(capsys, "list")
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert code == 0
    assert names == [
        *METHODS, *BENCHMARKS, *profiles(), *registered("model"), *known_notebooks()
    ]  # fmt: skip
    assert out.count("cannot run") == sum(bool(p.missing) for p in profiles().values())


def test_a_bug_keeps_its_traceback_and_an_error_of_ours_does_not(monkeypatch, capsys):
    def bug(path):
        json.loads("{")  # a ValueError from the depths of a library

    def bug_of_ours(path):
        exec("None.nothing", {"__name__": "sparsevlm.somewhere"})

    def ours(path):
        get_profile("maxi")

    monkeypatch.setattr(provenance, "read", bug)
    with pytest.raises(json.JSONDecodeError):
        cli.main(["provenance", "x.pdf"])
    monkeypatch.setattr(provenance, "read", bug_of_ours)
    with pytest.raises(AttributeError):
        cli.main(["provenance", "x.pdf"])
    monkeypatch.setattr(provenance, "read", ours)
    code, _, err = run(capsys, "provenance", "x.pdf")
    assert code == 1 and err.startswith("sparsevlm: unknown profile") and err.count("\n") == 1


def test_an_interrupt_says_that_nothing_is_lost(monkeypatch, capsys):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(provenance, "read", interrupted)
    code, _, err = run(capsys, "provenance", "x.pdf")
    assert code == 130 and "what is finished is kept" in err and err.count("\n") == 1


def test_check_reports_and_fails(monkeypatch, capsys):
    from sparsevlm.cli import reproduction
    from sparsevlm.paper import notebooks

    monkeypatch.setattr(notebooks, "notebook_problems", list)
    monkeypatch.setattr(reproduction, "missing_assets", lambda: ["weights are missing"])
    code, out, _ = run(capsys, "check")
    assert code == 1 and out.splitlines() == ["weights are missing", "check: 1 problem(s)"]
    monkeypatch.setattr(reproduction, "missing_assets", list)
    assert run(capsys, "check")[:2] == (0, "check: all is well\n")


HELP = """
import sys, time
from sparsevlm.cli.app import main
for command in ["", *sys.argv[1:]]:
    started = time.process_time() if command else 0.0  # the first one with all that it imports
    assert main([*command.split(), "--help"]) == 0
    assert time.process_time() - started < 0.5, command
heavy = {"torch", "transformers", "matplotlib", "pandas", "papermill"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_answers_at_once_and_loads_nothing_heavy():
    commands = [one.name or one.callback.__name__ for one in app.registered_commands]
    assert {"reproduce", "list", "bench", "upload"} <= set(commands)
    done = subprocess.run(
        [sys.executable, "-c", HELP, *commands], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: sparsevlm") == len(commands) + 1


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "sparsevlm", "reproduce", "--profile", "maxi"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sparsevlm: unknown profile 'maxi'; known: mini, a100, shape\n"


def test_bench_ends_with_one_line_of_json(capsys):
    small = ("--layers", "8", "--hidden", "128", "--visual", "96")
    code, out, _ = run(capsys, "bench", "--rounds", "2", *small)
    result = json.loads(out.splitlines()[-1])
    assert code == 0 and set(result["budgets"]) == {"192", "128", "64"}
    assert run(capsys, "bench", "--rounds", "0")[0] == 2


def test_fetch_without_a_name_lists_what_there_is_and_fetches_nothing(capsys, tmp_path):
    code, out, err = run(capsys, "fetch", "--folder", str(tmp_path / "new"))
    assert code == 2 and "name what to fetch, or give --all" in err and err.count("\n") == 1
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == [*(one.short for one in CHECKPOINTS), *datasets()]
    assert lines[0] == ["llava-7b", "14.1", "GB", "llava-hf/llava-1.5-7b-hf"]
    assert not (tmp_path / "new").exists()
    assert run(capsys, "fetch", "llava-7b", "--all")[0] == 2


VIDEOS = ["tgif", "msvd", "msrvtt", "activitynet"]
FINE = ["pope", "textvqa", "gqa"]


@pytest.mark.parametrize(("names", "models", "data"), [
    (["--all"], [one.short for one in CHECKPOINTS], list(BENCHMARKS)),
    (["llava-7b"], ["llava-7b"], []),
    (["YanweiLi/MGM-7B", "gqa", "gqa"], ["mgm-7b"], ["gqa"]),
    (["table_1"], ["llava-7b"], [n for n, one in BENCHMARKS.items() if one.media == "image"]),
    (["table_3"], ["video-llava-7b"], VIDEOS),
    (["figure_4"], ["mgm-7b"], FINE),
    (["explore", "table_2"], ["llava-7b", "qwen2-vl-7b"], ["mmbench", "pope", "textvqa"]),
    (["--videos", "mme"], [], [*VIDEOS, "mme"]),
])  # fmt: skip
def test_fetch_gets_what_is_named(monkeypatch, tmp_path, names, models, data):
    chosen = []
    monkeypatch.setattr("sparsevlm.models.checkpoints.fetch.fetch", lambda s, **_: chosen.extend(s))
    assert cli.main(["fetch", *names, "--data", str(tmp_path)]) == 0
    ids = [order.repository.id for stock in chosen for order in stock.orders if not stock.notes]
    wanted = [one for one in CHECKPOINTS if one.short in models]
    assert ids == [repository.id for one in wanted for repository in one.repositories]
    assert {stock.notes[0] for stock in chosen if stock.notes} == {f"{name}:" for name in data}


def test_fetch_of_an_unknown_name_lists_the_known_ones(capsys):
    code, _, err = run(capsys, "fetch", "table_9")
    assert code == 2 and err.count("\n") == 1
    assert "unknown 'table_9'; known: " in err and "table_1, " in err and "mgm-7b" in err
