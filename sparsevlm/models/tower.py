"""What CLIP vision towers made of the pictures of a call, for methods that ask for it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sparsevlm.models.vision import VisionLanguageModel


@dataclass(frozen=True)
class TowerView:
    """What the vision tower made of one picture, in the order of its visual tokens.

    All is of the layer whose output is projected. The n tokens are those of the picture, or of all
    frames of a video, one frame after another.

    Attributes
    ----------
    hidden, features
        ``[n, channels]`` output of that layer, and what the projector was given. They differ where
        the model adds something in between (Mini-Gemini's mining).
    attention
        ``[heads, n]`` attention of the frame's CLS token, softmax over the whole frame, CLS
        included.
    keys
        ``[n, head_dim]`` keys with bias, not scaled, mean over heads.
    cls
        ``[frames, channels]`` output of that layer for the CLS tokens, of which the language model
        gets none; without rows where they are among its visual tokens.
    cls_places
        Indices of the CLS tokens among the visual ones; empty where they are not.
    project
        Function that projects ``[rows, channels]`` to what the language model is given.
    """

    hidden: Tensor
    features: Tensor
    attention: Tensor
    keys: Tensor
    cls: Tensor
    cls_places: tuple[int, ...]
    project: Callable[[Tensor], Tensor]


class States(NamedTuple):
    """One run of a tower, around the layer whose output is projected.

    Attributes
    ----------
    layer
        The layer.
    before, after
        ``[frames, 1 + patches, channels]`` its input and its output.
    """

    layer: Any
    before: Tensor
    after: Tensor


def tower_lack(config: Any) -> str:
    """What a LLaVA-like model has in place of a tower that can be looked into; empty: nothing.

    Parameters
    ----------
    config
        Of the model.
    """
    kind = config.vision_config.model_type
    if kind != "clip_vision_model":
        return f"a vision tower of kind {kind}, without a CLS token that is known here"
    if not isinstance(config.vision_feature_layer, int):
        return f"features of several layers of its vision tower ({config.vision_feature_layer})"
    return ""


class TowerStates:
    """The last run of each tower that is watched.

    What is looked at are the hidden states that a tower puts out, and not what its layers do: an
    output that is remembered (`evaluation.shared_prefix`) has them too.

    Parameters
    ----------
    feature_layer
        Index of the hidden state that is projected: 0 is the input of the tower's first layer, -1
        the output of its last one.
    """

    def __init__(self, feature_layer: int) -> None:
        self.feature_layer = feature_layer
        self.last: dict[nn.Module, tuple[weakref.ref, States]] = {}

    def attach(self, tower: Any, hook: Callable) -> None:
        """Watch a tower; see `Adapter.attach`."""
        layers = getattr(tower, "vision_model", tower).encoder.layers
        after = self.feature_layer % (len(layers) + 1)

        def ask(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            if kwargs.get("output_hidden_states") is not True:
                kwargs = {**kwargs, "output_hidden_states": [after - 1, after]}
            return args, kwargs

        def note(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            found = output.hidden_states
            states = States(layers[after - 1], found[after - 1], found[after])
            self.last[tower] = weakref.ref(output), states

        hook(tower.register_forward_pre_hook, ask)
        hook(tower.register_forward_hook, note)

    def of(self, tower: nn.Module, arguments: dict, modality: str) -> States:
        """What a tower did with the pictures of a call.

        Parameters
        ----------
        tower
            One that is watched.
        arguments
            Of the call.
        modality
            ``"image"`` or ``"video"``.

        Raises
        ------
        ValueError
            If they were encoded elsewhere, or others after them.
        """
        known, states = self.last.get(tower, (lambda: None, None))
        given = (arguments.get("mm_encoder_outputs") or {}).get(modality)
        if states is None or (given is not None and given is not known()):
            raise ValueError(
                f"this {modality} was not the last that its vision tower encoded inside the block "
                "of prune(), so what the tower looked at is not known; give the pixels with the "
                "question"
            )
        return states


class ClipModel(VisionLanguageModel):
    """A LLaVA-like model, whose vision towers are CLIP's and can be looked into.

    Attributes
    ----------
    clip_towers
        Of an "image" and of a "video", the name of the tower in ``base``.
    """

    clip_towers: ClassVar[dict[str, str]]

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        super().__init__(model, visual_mask)
        self.tower_lack = tower_lack(self.config)
        self.states = TowerStates(self.config.vision_feature_layer)

    def attach_tower(self, hook: Callable) -> None:
        """Watch the layers of the vision towers that are projected."""
        for name in self.clip_towers.values():
            self.states.attach(getattr(self.base, name), hook)


@torch.no_grad()
def tower_of(
    states: States,
    frames: slice | Sequence[int],
    project: Callable[[Tensor], Tensor],
    *,
    has_cls: bool = False,
    features: Tensor | None = None,
) -> TowerView:
    """The part of a run that is about one picture.

    Parameters
    ----------
    states
        The run.
    frames
        The frames of the picture, in the order of its visual tokens.
    project
        The projector.
    has_cls
        Whether the language model gets the CLS tokens too, each ahead of its frame.
    features
        ``[visual tokens, channels]`` what the projector was given, if not the tower's output.
    """
    attention, outputs = states.layer.self_attn, states.after[frames]
    inputs = states.layer.layer_norm1(states.before[frames])
    heads = (*inputs.shape[:2], attention.num_heads, attention.head_dim)
    keys = attention.k_proj(inputs).view(heads)
    query = attention.q_proj(inputs[:, :1]).view(heads[0], 1, *heads[2:])
    weights = torch.einsum("fqhd,fkhd->hfqk", query.float(), keys.float())[:, :, 0]
    weights = (weights * attention.scale).softmax(dim=-1)
    first = 0 if has_cls else 1
    hidden = outputs[:, first:].flatten(0, 1)
    length = outputs.shape[1]
    return TowerView(
        hidden=hidden,
        features=hidden if features is None else features,
        attention=weights[..., first:].flatten(1),
        keys=keys.mean(dim=2)[:, first:].flatten(0, 1),
        cls=outputs[:0, 0] if has_cls else outputs[:, 0],
        cls_places=tuple(range(0, len(hidden), length)) if has_cls else (),
        project=project,
    )
