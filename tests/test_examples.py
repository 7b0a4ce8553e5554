"""What a model is asked in the figures, and what is known of it."""

from __future__ import annotations

import pytest
from other_models import profile_of

from sparsevlm.analysis.examples import (
    Photographs,
    Scenes,
    choose_examples,
    examples_of,
    named_patches,
)
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.miniature.registry import get_miniature
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.paper.figures import figure_1, figure_6

PHOTOGRAPHS = Photographs("`model`")


def scenes(name="mini-llava"):
    return Scenes("`model`", get_miniature(name))


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("what color is the ring ?", ["blue ring"]),
        ("what shape is the pink thing ?", ["pink cross"]),
        ("is there a blue ring in the image ?", ["blue ring"]),
        ("is there a pink ring in the image ?", []),
        ("what letter is on the olive card ?", ["olive card"]),
        ("what shape is the pink thing ? A ring B square", ["pink cross"]),
        ("what do you see ?", []),
    ],
)
def test_named_patches_are_those_of_the_objects_that_are_named(question, names):
    scene = make_scene(0)
    wanted = [i for o in scene.objects if str(o) in names for i in scene.patches_of(o)]
    assert named_patches(scene, question) == tuple(sorted(wanted))


def test_drawn_questions_name_something_and_take_turns():
    drawn = scenes().drawn(8)
    assert len({example.seed for example in drawn}) == 8
    assert [example.kind for example in drawn] == ["GQA", "TextVQA", "POPE", "MM-Vet"] * 2
    assert all(example.target and example.answer for example in drawn)
    kinds = [example.kind for example in scenes("mini-qwen2-vl").drawn(4)]
    assert kinds == ["TextVQA", "POPE"] * 2  # it has no others of these


def test_chosen_questions_are_those_of_the_figure_where_the_objects_are_there():
    for name in ("mini-llava", "mini-gemini"):
        chosen = scenes(name).chosen(figure_6.ASKED, 2)
        assert [(e.seed, e.question, e.answer) for e in chosen] == [q[1:] for q in figure_6.ASKED]


def test_a_miniature_with_other_scenes_is_asked_about_these():
    chosen = scenes("mini-qwen2-vl").chosen(figure_6.ASKED, 2)
    assert [e.seed for e in chosen] == [0, 0, 1, 1, 2, 2]
    assert all(e.target and e.answer and e.kind for e in chosen)
    assert len({e.question for e in chosen if e.seed == 0}) == 2
    alone = scenes("mini-qwen2-vl").chosen(figure_6.ASKED[:4], 1)
    assert len({e.kind for e in alone}) == 3  # as many kinds as it has


def test_photographs_have_questions_and_nothing_that_nobody_knows():
    chosen = PHOTOGRAPHS.chosen(figure_1.ASKED, 3)
    assert [e.name for e in chosen] == ["astronaut"] * 3 and len({e.question for e in chosen}) == 3
    assert [e.name for e in PHOTOGRAPHS.drawn(6)][::5] == ["astronaut"] * 2
    assert len(PHOTOGRAPHS.drawn(99)) == 15
    assert all(e.target is None and not e.answer for e in PHOTOGRAPHS.drawn(99))
    assert chosen[0].place == {"image": "astronaut"}


def test_the_reader_is_told_what_is_known():
    assert "patch by patch" in scenes().about(scenes().drawn(2))
    for examples in (PHOTOGRAPHS, scenes()):  # a photograph is one for a miniature too
        assert "nobody marked" in examples.about(PHOTOGRAPHS.drawn(2))


def test_own_image_and_questions(tmp_path):
    first, second = choose_examples(
        scenes(), figure_1.ASKED, "scene_6", "what shape is the pink thing ? | what is it ?"
    )
    assert first.seed == second.seed == 6 and first.target and second.target == ()
    (example,) = choose_examples(PHOTOGRAPHS, figure_1.ASKED[:1], "coffee")
    assert (example.name, example.question) == ("coffee", "What lies beside the cup?")
    path = tmp_path / "mine.png"
    example.image.save(path)
    (own,) = choose_examples(scenes(), figure_1.ASKED, str(path), "what is it ?")
    assert (own.name, own.target, own.image.size) == ("mine", None, example.image.size)
    assert choose_examples(PHOTOGRAPHS, figure_1.ASKED, "", "Why?")[0].name == "astronaut"
    with pytest.raises(ValueError, match="give a question about"):
        choose_examples(PHOTOGRAPHS, figure_1.ASKED, str(path))


@pytest.mark.parametrize(
    ("image", "question", "error", "message"),
    [
        ("nowhere.png", "", FileNotFoundError, "give a file, or one of .*astronaut"),
        ("clip_2", "", FileNotFoundError, "no image 'clip_2'"),
        ("", "a | b | c | d", ValueError, "room for 3 questions, got 4"),
    ],
)
def test_what_is_not_there_is_refused(image, question, error, message):
    with pytest.raises(error, match=message):
        choose_examples(PHOTOGRAPHS, figure_1.ASKED, image, question)


def test_which_examples_a_model_has(tmp_path):
    assert isinstance(examples_of(load_model(get_profile("mini"))), Scenes)
    examples = examples_of(load_model(profile_of("llava", tmp_path)))
    assert type(examples) is Photographs


def test_a_model_of_clips_says_what_the_figures_need():
    with pytest.raises(ValueError, match="takes the frames of a video .* choose a model that"):
        figure_6.measure(get_profile("mini").with_model("mini-video-llava"))
