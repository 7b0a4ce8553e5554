"""Profiles name things that exist, and say what is missing."""

from __future__ import annotations

import dataclasses

import pytest

from sparsevlm.baselines import METHODS
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.reproduce.profiles import PROFILES, get_profile
from sparsevlm.reproduce.style import METHOD_STYLE


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
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


@pytest.mark.parametrize("name", ["a100", "shape"])
def test_a_profile_that_cannot_run_says_what_is_missing(name):
    with pytest.raises(NotImplementedError, match=f"profile '{name}' cannot run yet: .*written"):
        get_profile(name).require_runnable()


def test_a_profile_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_profile("mini").seed = 1


def test_every_method_has_its_own_look():
    labels = {name: look.label for name, look in METHOD_STYLE.items()}
    assert labels == {name: method.label for name, method in METHODS.items()}
    assert len({style.colour for style in METHOD_STYLE.values()}) == len(METHOD_STYLE)
    assert len({style.marker for style in METHOD_STYLE.values()}) == len(METHOD_STYLE)
