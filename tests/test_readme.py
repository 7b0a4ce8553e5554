"""The README keeps its word: its code runs, its files exist, its commands are real."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from sparsevlm.methods import METHODS
from sparsevlm.paper.tables.table_1 import PAPER

METHOD_OF = {method.label: name for name, method in METHODS.items()}
ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_code_for_ones_own_program_runs_and_answers(capsys):
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    answer, mean_tokens_out = printed.split()[0], float(printed.split()[-1])
    assert answer == "square"
    assert abs(mean_tokens_out - 64) <= 1


def test_the_code_for_a_conversation_runs_and_answers(capsys):
    exec(compile(BLOCKS[0] + BLOCKS[1], "README.md", "exec"), {})
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("square [") and second.startswith("yellow [")
    assert first.split("[")[1] != second.split("[")[1]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert target.startswith("https://") or (ROOT / target).exists()


def test_every_file_in_backticks_exists():
    for name in re.findall(r"`((?:tests|data|docs|notebooks)/[\w./*-]+)`", README):
        assert list(ROOT.glob(name)), name


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_table_in_the_readme_is_the_committed_one():
    with open(ROOT / "figures" / "table_1.csv", encoding="utf-8", newline="") as file:
        measured = {(r["budget"], r["method"]): r for r in csv.DictReader(file)}
    rows = re.findall(r"^\| (?:\*\*)?([A-Z][\w, ]+?)(?:\*\*)? \| (.+) \|$", README, re.MULTILINE)
    rows = [(name, cells.split(" | ")) for name, cells in rows if "[" in cells]
    assert len(rows) == len({method for _, method in measured}) - 1
    for method, cells in rows:
        for budget, cell in zip(("192", "128", "64"), cells[0::2], strict=True):
            row = measured[budget, method]
            low, high = (f"{float(row[k]):.1f}" for k in ("Acc. low", "Acc. high"))
            assert cell == f"{float(row['Acc. (%)']):.1f} [{low}, {high}]"
        for budget, cell in zip(("192", "128", "64"), cells[1::2], strict=True):
            paper = PAPER.get((METHOD_OF[method], int(budget)))
            known = paper and f"{paper['relative_accuracy_percent']:.1f}"
            assert cell == (known or "–")
