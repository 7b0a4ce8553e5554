"""Asking the bundled miniature one question: the answer, the trace, the picture and its objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.miniature.scenes import CARD_COLORS, SHAPE_COLORS, SHAPES, Scene, make_scene

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

    from sparsevlm.core.interface import Pruner
    from sparsevlm.models.prompt_builder import PromptBuilder
    from sparsevlm.runtime.trace import SampleTrace, Trace

MAX_NEW_TOKENS = 8


def answered(
    profile: str, scene_seed: int, question: str, pruner: Pruner
) -> tuple[tuple[str, ...], int, str, Trace]:
    """Answer one question greedily under a pruner.

    Returns
    -------
    words, before, answer, trace
        The text after the image, the number of tokens before it, the answer, the trace.
    """
    import torch

    from sparsevlm.runtime.prune import prune

    model, builder = miniature(profile)
    inputs = inputs_of(profile, scene_seed, question)
    with torch.inference_mode(), prune(model, pruner) as trace:
        output = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    asked = inputs["input_ids"].shape[1]
    (answer,) = builder.decode(output[:, asked:])
    return *layout_of(profile, inputs), answer, trace


def first_word(profile: str, scene_seed: int, question: str, pruner: Pruner) -> str:
    """The first word of the answer under a pruner, from the prefill alone."""
    import torch

    from sparsevlm.runtime.prune import prune

    model, builder = miniature(profile)
    inputs = inputs_of(profile, scene_seed, question)
    with torch.inference_mode(), prune(model, pruner, trace=False):
        logits = model(**inputs, logits_to_keep=1).logits
    return builder.tokenizer.decode(logits[0, -1].argmax())


def layout_of(profile: str, inputs: dict) -> tuple[tuple[str, ...], int]:
    """The words after the image, and the number of tokens before it."""
    model, builder = miniature(profile)
    ids = inputs["input_ids"][0]
    places = (ids == model.config.image_token_id).nonzero().flatten()
    words = builder.tokenizer.convert_ids_to_tokens(ids[int(places[-1]) + 1 :].tolist())
    return tuple(words), int(places[0])


def traced(profile: str, scene_seed: int, question: str, pruner: Pruner) -> SampleTrace:
    """What becomes of every visual token in the prefill of one question, without an answer."""
    import torch

    from sparsevlm.runtime.prune import prune

    model, _ = miniature(profile)
    with torch.inference_mode(), prune(model, pruner) as trace:
        model(**inputs_of(profile, scene_seed, question), logits_to_keep=1)
    return trace.samples[0]


def shape(profile: str) -> dict[str, int]:
    """Decoder layers and visual tokens of the profile's model, as `make_pruner` wants them."""
    config = miniature(profile)[0].config
    return {
        "num_layers": config.text_config.num_hidden_layers,
        "num_visual": config.image_seq_length,
    }


def inputs_of(profile: str, scene_seed: int, question: str) -> dict:
    """What the model gets for one question."""
    _, builder = miniature(profile)
    return builder.inputs([question], [[scene_of(scene_seed).image]])


@lru_cache(maxsize=2)
def miniature(profile: str) -> tuple[LlavaForConditionalGeneration, PromptBuilder]:
    """Model and prompt builder of a profile, loaded once.

    Raises
    ------
    ValueError
        Unknown profile.
    NotImplementedError
        A profile that cannot run yet.
    """
    from sparsevlm.miniature import load_miniature

    chosen = get_profile(profile)
    chosen.require_runnable()
    return load_miniature(chosen.model)


@lru_cache(maxsize=256)
def scene_of(seed: int) -> Scene:
    """The scene of a seed, drawn once."""
    return make_scene(seed)


def target_of(seed: int, question: str) -> list[int]:
    """`named_patches` of the scene of a seed."""
    return named_patches(scene_of(seed), question)


def named_patches(scene: Scene, question: str) -> list[int]:
    """Raster indices of the patches of every object that a question names.

    An object is named when its colour is among the colours of the question and its kind among the
    kinds; a question without a colour (or without a kind) leaves that open. The options of a
    multiple choice, which follow the question mark, name nothing.
    """
    asked = question.split("?")[0].split()
    colours = [word for word in asked if word in SHAPE_COLORS or word in CARD_COLORS]
    kinds = [word for word in asked if word in SHAPES or word == "card"]
    if not colours and not kinds:
        return []
    objects = [
        o for o in scene.objects
        if (not colours or o.color in colours) and (not kinds or o.kind in kinds)
    ]  # fmt: skip
    return sorted(int(i) for o in objects for i in scene.patches_of(o))


def drawn_questions(
    count: int, benchmarks: Sequence[str] = ("gqa", "textvqa", "pope", "mmvet")
) -> list[tuple[int, str, str]]:
    """Questions that nobody chose: (scene seed, question, true answer), all different scenes.

    The benchmarks take turns, and questions that name nothing in their picture are left out. The
    seed of the questions is 2: tables report seed 0 and the model card seed 1.
    """
    from sparsevlm.miniature.questions import benchmark_samples

    turns = -(-count // len(benchmarks))
    drawn = []
    for name in benchmarks:
        samples = benchmark_samples(name, 3 * turns + 6, seed=2)
        naming = [s for s in samples if target_of(s.seed, s.question)]
        drawn.append([(s.seed, s.question, s.answer) for s in naming[:turns]])
    return [question for turn in zip(*drawn, strict=True) for question in turn][:count]


def mean_and_interval(values: np.ndarray, resamples: int = 10_000) -> np.ndarray:
    """Mean over the first axis and its 95 % bootstrap interval, ``[3, ...]``: mean, low, high."""
    values = np.asarray(values, float)
    draws = np.random.default_rng(0).multinomial(
        len(values), [1 / len(values)] * len(values), resamples
    )
    means = np.tensordot(draws / len(values), values, axes=1)
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return np.stack([values.mean(0), low, high])
