"""Are the miniatures fair stand-ins: where they look, moved stages, and what pruning costs them."""

from __future__ import annotations

import json

import pytest
from fabricated import SHAPE, fabricate, narrowed

from sparsevlm.analysis import study
from sparsevlm.evaluation import attention_aligned
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.studies import belongs, studies
from sparsevlm.miniature.registry import MINIATURES
from sparsevlm.paper.extras import miniature_validity

GROWN = [0.9, 0.1, 1.0, 0.7, 0.9, 0.2, 0.6, 0.2, 0.3, 0.1]


# --- aligned stages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "moved"),
    [
        ((0, 3), (0, 3)),  # both read
        ((1, 3, 7), (0, 3, 6)),  # 0 and 2 are as near: the earlier; 7 goes back to 6
        ((4, 5), (4,)),  # two that meet become one
        ((9,), (6,)),
    ],
)
def test_a_stage_moves_to_the_nearest_layer_that_reads(layers, moved):
    assert attention_aligned.move(layers, GROWN) == moved


def test_nothing_is_pruned_after_the_last_layer_even_if_it_reads_most():
    assert attention_aligned.move((3,), [0.2, 0.6, 0.1, 0.3, 1.0]) == (1,)


@pytest.mark.parametrize("name", MINIATURES)
def test_the_cards_of_all_miniatures_give_stages_inside_the_model(name):
    num_layers = MiniatureBackend().sizes(name).layers
    moved = attention_aligned.moved_layers(name)
    assert moved == tuple(sorted(set(moved))) and 0 <= moved[0] and moved[-1] < num_layers - 1


def test_a_card_without_probes_says_how_to_measure(tmp_path):
    (tmp_path / "mini-x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"card --name mini-x --measure-again"):
        attention_aligned.moved_layers("mini-x", tmp_path)


def test_the_runs_of_a_moved_study_prune_where_the_rule_says():
    wanted = list(attention_aligned.moved_layers("mini-gemini"))
    runs = plan_runs(get_profile("mini-4").for_study("moved_gemini"))
    by_depth = {run.id for run in plan_runs(get_profile("mini-4").for_study("figure_4"))}
    for run in runs:
        stages = [layer for layer, _ in json.loads(run.pruner).get("stages", [])]
        assert stages == ([] if run.method == "dense" else wanted), run.title
        assert (run.id in by_depth) == (run.method == "dense")


def test_a_method_with_stages_of_its_own_refuses_layers():
    with pytest.raises(ValueError, match="pdrop has no option layers"):
        MiniatureBackend().sizes("mini-llava").pruner("pdrop", 64, (0, 2))


def test_fastv_prunes_once_after_the_first_of_the_layers():
    (cut,) = MiniatureBackend().sizes("mini-llava").pruner("fastv", 192, (1, 3)).stages
    assert cut.layer == 1


def test_studies_of_miniatures_belong_to_their_profile():
    assert belongs("miniature", "mini") and not belongs("miniature", "a100")
    assert belongs("table_1", "a100")
    for name in (name for name, each in studies().items() if each.only == "mini"):
        with pytest.raises(ValueError, match="belongs to profile 'mini', not 'a100'"):
            get_profile("a100").for_study(name)


# --- the notebook ------------------------------------------------------------------------------


def results_of(name: str, skill: dict) -> study.Results:
    profile = narrowed(name, benchmarks=("pope", "gqa"), budgets=(128, 64))
    return study.from_records(profile, fabricate(profile, skill), SHAPE)


@pytest.fixture(scope="module")
def grown() -> miniature_validity.Evidence:
    depth = {"dense": 0.9, "sparsevlm": 0.4, "fastv": 0.2, "tome": 0.6, "random": 0.7}
    moved = {"dense": 0.9, "sparsevlm": 0.8, "random": 0.5}
    attention = miniature_validity.AttentionByLayer(
        "mini-gemini", tuple(GROWN), (0.1,) * 10, 0.02, (0.3, 0.4, 0.8, 0.9, *(1.0,) * 7),
        (1, 3, 7), (0, 3, 6),
    )  # fmt: skip
    return miniature_validity.Evidence(
        attention, results_of("figure_4", depth), results_of("moved_gemini", moved)
    )


def test_the_sentence_names_the_stages_that_can_cost_something(grown):
    assert grown.attention.done == 4
    assert (
        "prunes after 1, 3, 7; what is dropped after 1 can change an answer"
        in grown.attention.sentence
    )


def test_gains_are_paired_and_have_their_signs(grown):
    assert grown.questions == 48
    against_random = grown.results.difference(("sparsevlm", 64), ("random", 64))
    assert against_random.high < 0 < grown.gained_by_aligning(64).low


def test_moved_stages_give_both_comparisons(grown):
    section = miniature_validity.aligned([grown])
    assert section.sentences == ["mini-gemini: stages after 0, 3, 6 in place of 1, 3, 7."]
    moved = grown.aligned.difference(("sparsevlm", 128), ("random", 128))
    row = section.table.loc[("mini-gemini", "SparseVLM minus random tokens, both moved")]
    assert row["128"] == f"ahead {moved}" and moved.low > 0
    assert miniature_validity.price([grown]).table.shape == (2, 2)


def test_the_table_has_every_comparison_by_both_rules(grown):
    table = miniature_validity.comparisons([grown])
    found = {(row.cuts, row.tokens, row.against) for row in table.itertuples()}
    depth = {("by depth", b, m) for b in (128, 64) for m in ("fastv", "tome", "random")}
    assert found == depth | {("moved", 128, "random"), ("moved", 64, "random")}
    assert set(table[table.cuts == "moved"].separates) == {True}


def test_the_figures_show_both_rules(grown):
    frame = miniature_validity.attention_frame([grown, grown])
    assert list(frame[frame.moved_cut_after].layer[:3]) == [0, 3, 6]
    for draw in (miniature_validity.draw_attention, miniature_validity.draw_price):
        figure = draw([grown, grown])
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert any("moved stages" in name for name in names) and len(set(names)) == len(names)
