"""What is said of the model that answered follows the profile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.paper import remarks

NAMES = sorted(path.name.removesuffix(".md.j2") for path in remarks.FOLDER.glob("*.j2"))


@pytest.fixture(scope="module")
def results():
    profile = narrowed("controls", benchmarks=("pope",), methods=("sparsevlm",), budgets=(64,))
    return study.from_records(profile, fabricate(profile, {"dense": 1.0, "sparsevlm": 0.5}), SHAPE)


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_is_spoken_of_only_where_one_answered(name, results):
    mini = remarks.text(name, results)
    assert "mini-llava (miniature model, not LLaVA-1.5), 24 questions per benchmark" in mini
    assert "no reproduction of the paper's" in mini
    real = replace(results.profile, model="llava-hf/llava-1.5-7b-hf")
    assert real.marker == ""
    text = remarks.text(name, replace(results, profile=real))
    assert text.startswith("**What was measured.** llava-hf/llava-1.5-7b-hf, 24 questions")
    assert "mini" not in text.replace("Mini-Gemini", "")
