"""Questions of the miniature: answers are true of the scene, and the text is in the vocabulary."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.question_families import FAMILIES
from sparsevlm.miniature.questions import BENCHMARK_SEEDS, benchmark_samples
from sparsevlm.miniature.registry import MINIATURES
from sparsevlm.miniature.scenes import CORNERS, SHAPE_COLORS, make_scene
from sparsevlm.miniature.vocabulary import INDEX, WORDS
from training.recipes import STAGES_PER_SEED, TRAINING_SEEDS
from training.registry import get_trainer
from training.statements import MAX_WORDS, STATEMENTS, confirm


@pytest.mark.parametrize("benchmark", FAMILIES)
def test_samples_are_deterministic_and_whole_groups(benchmark):
    first, again = (benchmark_samples(benchmark, 30, seed=5) for _ in range(2))
    assert first == again
    assert len({s.id for s in first}) == len(first)
    assert first[:7] == benchmark_samples(benchmark, 30, seed=5)[:7]
    assert first != benchmark_samples(benchmark, 30, seed=6)
    assert len(benchmark_samples(benchmark, 5, seed=5)) <= 5, "what does not fit is left out"
    sizes = Counter(s.group for s in first)
    if benchmark == "mme":
        assert set(sizes.values()) == {2}
    if benchmark == "mmbench":
        assert all(sizes[s.group] == len(s.options) for s in first)


@pytest.mark.parametrize("benchmark", FAMILIES)
def test_every_word_is_in_the_vocabulary(benchmark):
    for sample in benchmark_samples(benchmark, 100, seed=3):
        words = [*sample.question.split(), *sample.answer.split()]
        assert not [w for w in words if w not in INDEX]


@pytest.mark.parametrize("checksum", [0, 1, 2**32 - 1])
def test_benchmark_scenes_are_never_training_scenes(checksum, monkeypatch):
    monkeypatch.setattr("zlib.crc32", lambda data: checksum)
    assert all(s.seed >= BENCHMARK_SEEDS for s in benchmark_samples("gqa", 20, 0))
    for recipe in recipes():
        end = recipe.scenes_from(len(recipe.stages), seed=9)
        assert end < BENCHMARK_SEEDS, "for the first ten training seeds"


# The miniatures that are trained on the scenes of `make_scene`.
SCENES = ("mini-llava", "mini-llava-32", "mini-gemini")


def recipes():
    return [get_trainer(name).recipe for name in MINIATURES]


def test_no_stage_trains_on_the_scenes_of_another():
    """Those of Qwen2-VL and Video-LLaVA are drawn from their seeds in ways of their own."""
    starts = [
        recipe.scenes_from(stage, seed)
        for recipe in (get_trainer(name).recipe for name in SCENES)
        for seed in (0, 1)
        for stage in range(len(recipe.stages))
    ]
    assert len(set(starts)) == len(starts)
    assert not any(start % TRAINING_SEEDS for start in starts)
    for recipe in recipes():
        assert recipe.first_stage + len(recipe.stages) <= STAGES_PER_SEED
        assert all(s.steps * s.batch <= TRAINING_SEEDS for s in recipe.stages)


def test_existence_answers_are_true():
    samples = benchmark_samples("pope", 200, 0)
    for sample in samples:
        _, _, _, color, kind, *_ = sample.question.split()
        there = (color, kind) in Facts(make_scene(sample.seed)).pairs
        assert sample.answer == ("yes" if there else "no")
    assert 0.4 < np.mean([s.answer == "yes" for s in samples]) < 0.6
    assert {s.split for s in samples} == {"random", "popular", "adversarial"}


def test_adversarial_absences_have_both_halves_present():
    for sample in benchmark_samples("pope", 200, 0):
        if sample.split == "adversarial" and sample.answer == "no":
            _, _, _, color, kind, *_ = sample.question.split()
            counts = Facts(make_scene(sample.seed)).counts
            assert counts[color] and counts[kind]


def test_circular_questions_keep_the_answer_under_every_rotation():
    groups: dict[str, list] = {}
    for sample in benchmark_samples("mmbench", 80, 0):
        groups.setdefault(sample.group, []).append(sample)
    for members in groups.values():
        values = {s.options["ABCD".index(s.answer)] for s in members}
        assert len(values) == 1
        assert len({s.answer for s in members}) == len(members)


def test_an_mme_pair_holds_one_yes_and_one_no():
    samples = benchmark_samples("mme", 100, 0)
    for yes, no in zip(samples[::2], samples[1::2], strict=True):
        assert (yes.answer, no.answer) == ("yes", "no")
        assert yes.seed == no.seed and yes.group == no.group


def test_science_answers_follow_the_number_of_corners():
    for sample in benchmark_samples("scienceqa", 60, 0):
        value = sample.options["ABCD".index(sample.answer)]
        thing = sample.question.split(" has ")[1].split(" ?")[0].split()
        facts = Facts(make_scene(sample.seed))
        kind = thing[1] if sample.split == "text" else facts.by_color[thing[1]].kind
        assert value == CORNERS[kind]


def test_statements_state_what_is_true():
    verified = 0
    for seed in range(30):
        facts, rng = Facts(make_scene(seed)), np.random.default_rng(seed)
        for name, make in STATEMENTS.items():
            words, wanted = make(facts, rng)
            assert len(words) == len(wanted) <= MAX_WORDS, name
            assert all(word in INDEX for word in words), name
        words, wanted = STATEMENTS["color"](facts, rng)
        for place in np.flatnonzero(wanted):
            kind = words[place - 1]
            one = facts.by_kind[kind].color if kind in facts.by_kind else "none"
            assert words[place] == one and (one == "none") == (not facts.counts[kind])
        words, wanted = STATEMENTS["verify"](facts, rng)
        colors = {(k, o.color) for k, o in facts.by_kind.items()}
        for place in np.flatnonzero(wanted):
            kind, claimed = words[place - 2 : place]
            if kind in facts.by_kind and claimed in SHAPE_COLORS:
                assert words[place] == ("yes" if (kind, claimed) in colors else "no")
                verified += 1
        words, wanted = STATEMENTS["match"](facts, rng)
        for place in np.flatnonzero(wanted):
            assert words[words.index(words[place - 1]) - 1] == words[place]
        words, wanted = STATEMENTS["there"](facts, rng)
        for place in np.flatnonzero(wanted):
            there = tuple(words[place - 2 : place]) in facts.pairs
            assert words[place] == ("yes" if there else "no")
    assert verified > 5


def test_confirmed_letters_and_numbers_are_true():
    judged = {"yes": 0, "no": 0}
    for seed in range(30):
        facts = Facts(make_scene(seed))
        words, wanted = confirm(facts, np.random.default_rng(seed))
        assert len(words) == len(wanted) <= MAX_WORDS
        for place in np.flatnonzero(wanted):
            name, claimed = words[place - 2 : place]
            card = facts.cards.get(name)
            value = card.glyph if card else str(facts.counts[name])
            assert words[place] == ("yes" if claimed == value else "no")
            judged[words[place]] += 1
    assert min(judged.values()) > 50


def test_an_unknown_benchmark_and_a_bad_count_are_refused():
    with pytest.raises(ValueError, match="unknown benchmark 'vqa'.*gqa"):
        benchmark_samples("vqa", 10, 0)
    with pytest.raises(ValueError, match="at least 1"):
        benchmark_samples("gqa", 0, 0)


def test_words_are_unique():
    assert len(set(WORDS)) == len(WORDS)
