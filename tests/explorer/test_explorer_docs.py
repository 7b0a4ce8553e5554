"""docs/explorer.md: its code runs, its links lead somewhere."""

from __future__ import annotations

import re

from sparsevlm.evaluation.paths import ROOT

PAGE = ROOT / "docs" / "explorer.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_code_of_the_page_runs(capsys):
    (block,) = [block for block in BLOCKS if "ExplorerSession" in block]
    namespace = {}
    exec(compile(block, PAGE.name, "exec"), namespace)
    assert namespace["found"].raters and "brown" in capsys.readouterr().out


def test_the_other_code_compiles():
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        compile(block, PAGE.name, "exec")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) == 2 and all((PAGE.parent / link).resolve().exists() for link in links)
