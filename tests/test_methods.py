"""A method is one file and one line: whoever forgets the line is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import sparsevlm as sv
import sparsevlm.methods as package
from sparsevlm.analysis.style import METHOD_STYLE, method_styles
from sparsevlm.core.interface import StagedPruner
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.methods import METHODS, Method

MODULES = [found.name for found in walk_packages(package.__path__, "sparsevlm.methods.")]


@pytest.mark.parametrize("module", MODULES)
def test_every_method_has_its_line(module):
    listed = {method.kind for method in METHODS.values()}
    file = import_module(module)
    for kind in vars(file).values():
        own = isinstance(kind, type) and kind.__module__ == file.__name__
        if own and issubclass(kind, StagedPruner) and "name" in vars(kind):
            if kind is sv.ScorePruner:  # a base for the reader's own
                continue
            assert kind in listed, (
                f"{kind.__name__} is no method yet: add Method({kind.name!r}, LABEL, "
                f"{kind.__name__}) to METHODS in sparsevlm/methods/registry.py"
            )


@dataclass(frozen=True)
class Nearest(StagedPruner):
    """A method of one's own."""

    axis: int = 0

    name: ClassVar[str] = "nearest"

    @classmethod
    def for_budget(cls, tokens, num_layers, num_visual):
        return cls((sv.PruningStage(0, tokens),))


def test_a_line_is_all_that_a_method_needs(monkeypatch):
    monkeypatch.setitem(METHODS, "nearest", Method("nearest", "Nearest", Nearest))
    pruner = sv.make_pruner("nearest", tokens=5, num_layers=8, num_visual=20, axis=1)
    assert pruner == Nearest((sv.PruningStage(0, 5),), axis=1)
    with pytest.raises(ValueError, match="nearest has no option layers; its options: axis"):
        sv.make_pruner("nearest", tokens=5, num_layers=8, num_visual=20, layers=(1,))
    styles = method_styles(METHODS)
    assert styles["nearest"].label == "Nearest"
    assert styles["nearest"][:2] not in {style[:2] for style in METHOD_STYLE.values()}
    assert {name: styles[name] for name in METHOD_STYLE} == METHOD_STYLE


def context_of(scores_of: torch.Tensor, layer: int) -> SimpleNamespace:
    """Ten tokens, of which the second of three words looks at the last ones."""
    return SimpleNamespace(
        layer=layer, num_current=10, num_text=3, visual=torch.eye(10),
        attention_rows=lambda rows: scores_of[None].expand(2, -1, -1)[:, rows],
        seen=SimpleNamespace(question=lambda: "what ?"),
    )  # fmt: skip


def test_the_example_of_the_architecture_page_is_a_method(monkeypatch):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setitem(METHODS, "yours", Method("yours", "", sv.ScorePruner))
    names: dict = {}
    exec(compile(block, "docs/architecture.md", "exec"), names)
    pruner = names["pruner"]
    others = sv.make_pruner("random", tokens=64, num_layers=32, num_visual=576)
    assert pruner.stages == others.stages
    rows = torch.zeros(3, 10)
    rows[1, 7:] = 0.3
    own = sv.ScorePruner((sv.PruningStage(2, 3),), score=names["score"])
    assert own.select(context_of(rows, 2)).keep.tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda visual, *_: visual, r"shape \(10,\) after layer 2; its shape is \(10, 10\)"),
        (lambda visual, *_: visual[1:, 0], r"its shape is \(9,\)"),
        (lambda visual, *_: visual[:, 0] / 0, "10 are nan or infinite"),
        (lambda visual, *_: visual[:, 0].tolist(), "it returned a list: return a tensor"),
        (lambda *_: None, "it returned a NoneType"),
    ],
)
def test_scores_of_another_kind_are_refused(score, said):
    pruner = sv.ScorePruner((sv.PruningStage(2, 3),), score=score, name="mine")
    with pytest.raises(ValueError, match=f"of 'mine' must return one finite number.*{said}"):
        pruner.select(context_of(torch.zeros(3, 10), 2))


def test_a_name_of_the_package_is_kept_and_what_is_no_function_refused(monkeypatch):
    with pytest.raises(ValueError, match="'fastv' is a method of the package"):
        sv.own_method(len, "fastv")
    with pytest.raises(TypeError, match="score must be a function"):
        sv.own_method("fastv", "mine")
    assert "mine" not in METHODS
