"""The Snakefile: the commands that it gives exist, and its graph is whole."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.main import get_command

from sparsevlm.cli.app import app
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.paper.notebooks import known_notebooks

SNAKEFILE = (ROOT / "workflow" / "Snakefile").read_text(encoding="utf-8")
PAGE = (ROOT / "workflow" / "README.md").read_text(encoding="utf-8")
RULES = {
    name: body
    for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", SNAKEFILE, re.MULTILINE)
}
WILDCARDS = SimpleNamespace(shard="1", name="figure_6")


def parsed(**config: str) -> dict[str, object]:
    """The names that the Python of the Snakefile gives its rules, run as Snakemake runs it."""
    names = {"config": {"python": sys.executable, **config}}
    before = os.getcwd()
    os.chdir(ROOT)
    try:
        exec(SNAKEFILE.partition("\nwildcard_constraints:")[0], names)
    finally:
        os.chdir(before)
    return names


def commands(**config: str) -> dict[str, list[str]]:
    """The command of every rule, its placeholders filled in, for one shard and one notebook."""
    names, found = parsed(**config), {}
    for rule, body in RULES.items():
        if shell := re.search(r'shell:\n\s+(f".+")', body):
            command = eval(shell[1], names).format(wildcards=WILDCARDS)
            found[rule] = shlex.split(command)
    return found


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"profile": "a100", "only": "table_4 figure_6", "limit": "100", "model": "llava-13b"},
        {"profile": "a100", "only": "table_4,figure_6"},
    ],
)
def test_every_command_is_one_of_ours(config):
    given = commands(**config)
    assert set(given) == set(RULES) - {"all"} and len(given) == 5
    for command in given.values():
        assert command[1:3] == ["-m", "sparsevlm"] and "{" not in " ".join(command)
        known = get_command(app).commands[command[3]]
        known.make_context(command[3], command[4:])  # raises where an option is not known


def options(command: list[str]) -> dict[str, object]:
    return get_command(app).commands[command[3]].make_context(command[3], command[4:]).params


def test_a_choice_narrows_every_rule():
    given = commands(profile="a100", only="table_4, figure_6", limit="100", model="it's/mine")
    names = parsed(profile="a100", only="table_4, figure_6")
    assert names["NOTEBOOKS"] == ["table_4", "figure_6"] and not names["WHOLE"]
    both = ("table_4", "figure_6")
    for rule, chosen in {"plan": both, "runs": both, "notebook": both[1:]}.items():
        asked = options(given[rule])
        assert asked["only"] == chosen and asked["profile"] == "a100"
        assert (asked["limit"], asked["model"]) == (100, "it's/mine")


@pytest.mark.parametrize("profile", ["mini", "a100"])
def test_the_whole_is_what_belongs_to_the_profile(profile):
    names = parsed(profile=profile)
    wanted = [name for name in known_notebooks() if profile == "mini" or name != "miniature"]
    assert names["NOTEBOOKS"] == wanted and names["WHOLE"] and not names["ONLY"]
    for changed in ({"limit": "8"}, {"model": "llava-7b"}, {"only": "tour"}):
        assert not parsed(profile=profile, **changed)["WHOLE"]  # so no claims, and no site


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"profile": "a100", "only": "tour miniature"}, "profile a100 is called miniature; known"),
        ({"only": "table_9"}, "no notebook of profile mini is called table_9"),
        ({"profile": "maxi"}, "unknown profile 'maxi'; known: mini, a100"),
        ({"python": "/no/such/python"}, "/no/such/python cannot run sparsevlm; give the Python"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said_before_any_job(config, message):
    with pytest.raises(SystemExit) as error:
        parsed(**config)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_marks_are_made_anew_where_results_may_differ(monkeypatch):
    """The jobs of another choice, of other data or of other code are not those that are done."""
    body = RULES["plan"]
    assert re.findall(r"^        (\w+)=(.+),$", body, re.MULTILINE)[:3] == [
        ("version", "VERSION"), ("places", "PLACES"), ("only", "ONLY")
    ]  # fmt: skip
    before = parsed(only="tour")
    monkeypatch.setenv("SPARSEVLM_DATA", "/elsewhere")
    after = parsed(only="table_4")
    assert before["VERSION"] == after["VERSION"]
    assert before["PLACES"] != after["PLACES"] and before["ONLY"] != after["ONLY"]


def test_outputs_are_marks_and_never_results():
    outputs = re.findall(r"output:\n\s+(.+),", SNAKEFILE)
    assert len(outputs) == 5
    assert all(one.startswith('touch(f"{MARKS}/') for one in outputs)


def test_the_page_explains_every_setting():
    settings = set(re.findall(r'config(?:\.get\(|\[)"(\w+)"', SNAKEFILE))
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert settings == explained and len(settings) == 9


@pytest.mark.parametrize(
    ("config", "notebooks", "rest"),
    [
        ([], len(known_notebooks()), {"claims": "1", "site": "1"}),
        (["profile=a100"], len(known_notebooks()) - 1, {"claims": "1", "site": "1"}),
        (["profile=a100", "only=table_4 figure_6"], 2, {}),
    ],
)
def test_the_graph_is_whole(config, notebooks, rest):
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed; it is no dependency")
    done = subprocess.run(
        [snakemake, "-s", "workflow/Snakefile", "-n", "--quiet", "rules", "--nolock", "--forceall",
         "--config", f"python={sys.executable}", "shards=3", *config],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", printed, re.MULTILINE))
    counted = {"all": "1", "plan": "1", "runs": "3", "notebook": str(notebooks), **rest}
    assert counts == {**counted, "total": str(sum(map(int, counted.values())))}
