"""Profiles name things that exist, and say what is missing."""

from __future__ import annotations

import dataclasses

import pytest

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.profiles import get_profile, profiles
from sparsevlm.evaluation.studies import studies
from sparsevlm.methods import METHODS
from sparsevlm.miniature.registry import MINIATURES


@pytest.mark.parametrize("profile", profiles().values(), ids=list(profiles()))
def test_a_profile_names_known_methods_and_benchmarks(profile):
    assert set(profile.methods) <= set(METHODS) - {"dense"}
    assert set(profile.benchmarks) <= set(BENCHMARKS)
    assert get_profile(profile.name) is profile


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown profile 'maxi'; known: mini, a100, shape"):
        get_profile("maxi")


def test_the_miniature_can_run_and_marks_what_it_makes():
    mini = get_profile("mini")
    mini.require_runnable()
    assert mini.marker == "miniature model, not LLaVA-1.5"


def test_a_profile_that_cannot_run_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="profile 'shape' cannot run: .*sparsevlm bench"):
        get_profile("shape").require_runnable()


@pytest.mark.parametrize("profile", ["mini", "mini-8", "a100", "a100-100"])
@pytest.mark.parametrize("study", studies())
def test_a_study_names_known_things_and_keeps_the_limit(profile, study):
    if studies()[study].only not in ("", get_profile(profile).name):
        pytest.skip("a study of another profile; tests/test_miniature_validity.py has it")
    whole, narrowed = get_profile(profile), get_profile(profile).for_study(study)
    assert set(narrowed.methods) <= set(METHODS) - {"dense"}
    assert set(narrowed.benchmarks) <= set(BENCHMARKS)
    assert (narrowed.slug, narrowed.study, narrowed.limit) == (profile, study, whole.limit)
    if whole.limit:
        assert 0 < narrowed.samples_per_benchmark <= whole.limit
        assert f"at most {whole.limit} samples" in narrowed.marker
    if profile.startswith("mini"):
        assert narrowed.model in MINIATURES and narrowed.marker.startswith("miniature model, not ")


def test_an_unknown_study_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown study 'table_9'; known: table_1"):
        get_profile("mini").for_study("table_9")


def test_a_profile_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_profile("mini").seed = 1


def test_every_method_has_its_own_look():
    labels = {name: look.label for name, look in METHOD_STYLE.items()}
    assert labels == {name: method.label for name, method in METHODS.items()}
    assert len({style.color for style in METHOD_STYLE.values()}) == len(METHOD_STYLE)
    assert len({style.marker for style in METHOD_STYLE.values()}) == len(METHOD_STYLE)
