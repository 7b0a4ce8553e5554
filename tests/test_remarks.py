"""What is said of the model that answered follows the profile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.paper import remarks
from sparsevlm.paper.page import open_page

EVERY = {path.name.removesuffix(".md.j2"): path for path in remarks.FOLDER.glob("*.j2")}
NAMES = sorted(name for name, path in EVERY.items() if "title" in path.read_text())
OF_EXAMPLES = sorted(EVERY.keys() - set(NAMES))


@pytest.fixture(scope="module")
def results():
    profile = narrowed("controls", benchmarks=("pope",), methods=("sparsevlm",), budgets=(64,))
    return study.from_records(profile, fabricate(profile, {"dense": 1.0, "sparsevlm": 0.5}), SHAPE)


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_is_spoken_of_only_where_one_answered(name, results):
    mini = remarks.text(name, results)
    assert "mini-llava-32 (miniature model, not LLaVA-1.5), 24 questions per benchmark" in mini
    assert "no reproduction of the paper's" in mini
    real = replace(results.profile, model="llava-hf/llava-1.5-7b-hf", limit=24, note="a part")
    assert "24 samples" in real.marker and "a part" in real.marker
    text = remarks.text(name, replace(results, profile=real))
    assert text.startswith("**What was measured.** llava-hf/llava-1.5-7b-hf (")
    assert "a part" in text
    assert "mini" not in text.replace("Mini-Gemini", "")


@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_examples_of_ones_own_and_other_models_have_no_remarks_on_the_miniature(name):
    assert remarks.text(name, open_page(name, {}))
    of_scenes = remarks.text(name, open_page(name, {"question": "what letter is on the card ?"}))
    assert "picked" not in of_scenes and "in these prompts" not in of_scenes
    assert remarks.text(name, open_page(name, {"profile": "a100"})) == ""
