"""Profiles of models that are not mini-llava, for notebooks that have to work with any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiny_checkpoints import FAMILIES, save_tiny

from sparsevlm.evaluation.profiles import Profile, get_profile

# Of eight layers, which is enough for most tests and four times as fast.
QUICK = replace(get_profile("mini"), model="mini-llava")


def profile_of(model: str, folder: Path) -> Profile:
    """The profile "mini" with four drawn questions and another model.

    A miniature by its name, or a tiny random checkpoint of a family, written to the folder.
    """
    if model in FAMILIES:
        save_tiny(model, folder)
        model = str(folder)
    return get_profile("mini").limited(4).with_model(model)
