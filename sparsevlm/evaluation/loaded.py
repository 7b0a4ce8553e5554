"""A model that is ready to be asked: the bundled ones and the paper's alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.miniature.registry import marker_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from sparsevlm.core.interface import Pruner
    from sparsevlm.evaluation.answer import Answer
    from sparsevlm.models.prompt_builder import PromptBuilder
    from sparsevlm.models.sizes import ModelSizes


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model with what is needed to ask it, named as a profile names it.

    Attributes
    ----------
    model : PreTrainedModel
        In evaluation mode, on its device.
    builder : PromptBuilder
        Makes its inputs, and text of its answers.
    revision : str
        Digest of weights and processor.
    marker : str
        What every figure must say of its numbers; "" where nothing has to be said.
    """

    name: str
    model: PreTrainedModel
    builder: PromptBuilder
    sizes: ModelSizes
    revision: str
    marker: str

    def ask(self, question: str, images: Sequence[Image], pruner: Pruner, **how: object) -> Answer:
        """Answer one question about one image, or the frames of a video; see `answer.answer`."""
        from sparsevlm.evaluation.answer import answer

        return answer(self.model, self.builder, [question], [images], pruner, **how)[0]


def load_model(profile: Profile) -> LoadedModel:
    """Load the model of a profile, on its device; the last two are kept.

    Raises
    ------
    NotImplementedError
        The profile cannot run.
    RuntimeError
        The profile asks for a GPU and there is none.
    CheckpointError, MissingAssetError
        Weights that are missing or damaged; the message says how to get them.
    """
    profile.require_runnable()
    return _load(profile.model, profile.dtype, profile.attention, profile.device)


def forget_models() -> None:
    """Give back the memory of the models that `load_model` keeps: workers load them anew."""
    if _load.cache_info().currsize:  # without one nothing needs torch
        from sparsevlm.evaluation.asking import free_memory

        _load.cache_clear()
        free_memory()


@lru_cache(maxsize=2)
def _load(name: str, dtype: str, attention: str, device: str) -> LoadedModel:
    from sparsevlm.models.placement import no_progress_bar

    backend = backend_of(name)
    with no_progress_bar():
        model, builder = backend.load(name, dtype=dtype, attention=attention, device=device)
    return LoadedModel(
        name, model, builder, backend.sizes(name), backend.revision(name), marker_of(name)
    )
