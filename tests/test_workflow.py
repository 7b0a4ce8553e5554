"""The Snakefile: the commands that it gives exist, and its graph is whole."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from typer.main import get_command

from sparsevlm.cli.app import app
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.paper.notebooks import known_notebooks

SNAKEFILE = (ROOT / "workflow" / "Snakefile").read_text(encoding="utf-8")
PAGE = (ROOT / "workflow" / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every command of a rule, its placeholders filled in."""
    filled = SNAKEFILE.replace("{{wildcards.shard}}", "1").replace("{{wildcards.name}}", "figure_6")
    values = {"PROFILE": "mini", "LIMIT": "8", "MODEL": "", "SHARDS": "4", "JOBS": "1",
              "PYTHON": "python"}  # fmt: skip
    for name in ("SPARSEVLM", "RUN"):
        values[name] = re.search(rf'^{name} = f"(.+)"$', filled, re.MULTILINE)[1]
    found = re.findall(r'shell:\n\s+f"(.+)"', filled)
    for name in ("RUN", "SPARSEVLM", *values):
        found = [one.replace("{" + name + "}", values[name]) for one in found]
    return [shlex.split(one) for one in found]


def test_every_command_is_one_of_ours():
    given = commands()
    assert len(given) == 5
    for command in given:
        assert command[:3] == ["python", "-m", "sparsevlm"] and "{" not in " ".join(command)
        known = get_command(app).commands[command[3]]
        known.make_context(command[3], command[4:])  # raises where an option is not known


def test_outputs_are_marks_and_never_results():
    outputs = re.findall(r"output:\n\s+(.+),", SNAKEFILE)
    assert len(outputs) == 5
    assert all(one.startswith('touch(f"{MARKS}/') for one in outputs)


def test_the_page_explains_every_setting():
    settings = set(re.findall(r'config(?:\.get\(|\[)"(\w+)"', SNAKEFILE))
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert settings == explained and len(settings) == 8


def test_the_graph_is_whole():
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed; it is no dependency")
    done = subprocess.run(
        [snakemake, "-s", "workflow/Snakefile", "-n", "--quiet", "rules", "--nolock", "--forceall",
         "--config", "python=python", "shards=3"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", printed, re.MULTILINE))
    assert counts == {
        "all": "1", "plan": "1", "runs": "3", "notebook": str(len(known_notebooks())),
        "claims": "1", "site": "1", "total": str(len(known_notebooks()) + 7),
    }  # fmt: skip
