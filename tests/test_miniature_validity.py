"""Are the miniatures fair stand-ins: where they look, and what pruning costs them."""

from __future__ import annotations

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.studies import belongs, studies
from sparsevlm.paper.extras import miniature_validity

READS = [0.9, 0.1, 1.0, 0.7, 0.9, 0.2, 0.6, 0.2, 0.3, 0.1]


def test_a_card_without_probes_says_how_to_measure(tmp_path, monkeypatch):
    (tmp_path / "mini-x.json").write_text("{}")
    monkeypatch.setattr(miniature_validity, "CARDS", tmp_path)
    with pytest.raises(ValueError, match=r"card --name mini-x --measure-again"):
        miniature_validity.Evidence.read("mini-x", (1,), None)


def test_a_method_with_stages_of_its_own_refuses_layers():
    with pytest.raises(ValueError, match="pdrop has no option layers"):
        MiniatureBackend().sizes("mini-llava").pruner("pdrop", 64, layers=(0, 2))


def test_fastv_prunes_once_after_the_first_of_the_layers():
    (cut,) = MiniatureBackend().sizes("mini-llava").pruner("fastv", 192, layers=(1, 3)).stages
    assert cut.layer == 1


def test_studies_of_miniatures_belong_to_their_profile():
    assert belongs("miniature", "mini") and not belongs("miniature", "a100")
    assert belongs("table_1", "a100")
    for name in (name for name, each in studies().items() if each.only == "mini"):
        with pytest.raises(ValueError, match="belongs to profile 'mini', not 'a100'"):
            get_profile("a100").for_study(name)


# --- the notebook ------------------------------------------------------------------------------


def evidence(name: str, table: str, skill: dict) -> miniature_validity.Evidence:
    profile = narrowed(table, benchmarks=("pope", "gqa"), budgets=(128, 64))
    right = (0.3, 0.4, 0.8, 0.9, *(1.0,) * 7)
    results = study.from_records(profile, fabricate(profile, skill), SHAPE)
    return miniature_validity.Evidence(
        name, tuple(READS), (0.1,) * 10, 0.02, right, (1, 3, 7), results
    )


@pytest.fixture(scope="module")
def found() -> list[miniature_validity.Evidence]:
    deep = {"dense": 0.9, "sparsevlm": 0.8, "fastv": 0.6, "pdrop": 0.7, "tome": 0.6, "random": 0.5}
    shallow = {**deep, "sparsevlm": 0.4, "fastv": 0.2}
    studies = ("mini-llava-32", "table_1", deep), ("mini-llava", "table_1_shallow", shallow)
    return [evidence(*each) for each in studies]


def test_the_sentence_names_the_stages_that_can_cost_something(found):
    assert found[0].done == 4
    sentence = found[0].sentence
    assert "prunes after 1, 3, 7; what is dropped after 1 can change an answer" in sentence


def test_what_remains_stands_beside_the_paper_and_those_who_ran_it_again(found):
    table = miniature_validity.remains(found).table
    assert list(table.columns) == ["8 layers", "32 layers", "paper", "by others, one environment"]
    assert len(table) == 4 * 2, "every other method at every budget"
    row = table.loc[("ToMe", "64")]
    deep = found[0].results.difference(("sparsevlm", 64), ("tome", 64))
    assert row["32 layers"].startswith(f"+{deep.value:.1f}") and row["8 layers"].startswith("-")
    assert (row["paper"], row["by others, one environment"]) == ("+18.2", "-1.0 RESTORE")
    assert table.loc[("Random", "64"), "paper"] == "–"


def test_the_table_has_every_comparison(found):
    table = miniature_validity.comparisons(found)
    others = ("fastv", "pdrop", "tome", "random")
    assert len(table) == 2 * 2 * len(others) and set(table.against) == set(others)
    deep = table[table.miniature == "mini-llava-32"]
    assert set(deep.separates) == {True} and (deep.low > 0).all()
    assert miniature_validity.price(found).table.shape == (4, 2)


def test_the_figures_have_a_panel_per_miniature(found):
    frame = miniature_validity.attention_frame(found)
    assert list(frame[frame.cut_after].layer[:3]) == [1, 3, 7]
    for draw in (miniature_validity.draw_attention, miniature_validity.draw_price):
        figure = draw(found)
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert len(set(names)) == len(names) >= 3
        titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
        assert [title.split("\n")[0] for title in titles] == ["mini-llava-32", "mini-llava"]
