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


def test_the_example_of_the_architecture_page_is_a_method(monkeypatch):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {"__name__": __name__}
    exec(compile(block, "docs/architecture.md", "exec"), names)
    (line,) = re.findall(r"`(Method\(.*\))`", page)
    method = eval(line, {**names, "Method": Method})
    monkeypatch.setitem(METHODS, method.name, method)
    pruner = sv.make_pruner(method.name, tokens=64, num_layers=8, num_visual=576)
    (first, *_) = pruner.stages
    context = SimpleNamespace(layer=first.layer, num_current=576, visual=torch.zeros(576, 2))
    keep = pruner.select(context).keep
    assert keep.tolist() == list(range(0, 2 * first.keep, 2))
