"""Official Mini-Gemini weights, and their names, into `MiniGeminiForConditionalGeneration`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig, clip_large_336
from sparsevlm.models.mini_gemini.modeling import MiniGeminiForConditionalGeneration
from sparsevlm.models.placement import stored_dtype

# Files from before the release was renamed carry the old name.
MODEL_TYPES = ("mgm", "mini_gemini")
OWN_FIELDS = ("image_size_aux", "image_grid", "image_global", "image_aspect_ratio")
# What this implementation can do, where the official code has a choice.
EXPECTED = {
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_feature": "patch",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
}
# Here, and in an official file. The first fit counts: "model." alone is the language model.
PREFIXES = (
    ("model.vision_tower_aux.", "model.vision_tower_aux."),
    ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
    ("model.projector.", "model.mm_projector."),
    ("model.mining.query.", "model.vlm_uni_query_projector."),
    ("model.mining.key.", "model.vlm_uni_aux_projector."),
    ("model.mining.value.", "model.vlm_uni_val_projector."),
    ("model.language_model.", "model."),
    ("lm_head.", "lm_head."),
)
# Inside the ConvNeXt tower: transformers, and timm under the names of the official class.
PARTS = (
    ("embeddings.patch_embeddings.", "vision_stem.0."),
    ("embeddings.layernorm.", "vision_stem.1."),
    ("encoder.stages.", "vision_stages."),
    (".downsampling_layer.", ".downsample."),
    (".layers.", ".blocks."),
    (".dwconv.", ".conv_dw."),
    (".layernorm.", ".norm."),
    (".pwconv1.", ".mlp.fc1."),
    (".pwconv2.", ".mlp.fc2."),
    (".layer_scale_parameter", ".gamma"),
)
TIMM_PARTS = tuple((timm, here) for here, timm in PARTS)
AUX, CLIP = "model.vision_tower_aux.", "model.vision_tower."

# Weights that the model has no use for, by prefix or whole name: buffers that old releases of
# transformers saved, ...
DROPPED_OFFICIAL = (f"{CLIP}vision_tower.vision_model.embeddings.position_ids",)
DROPPED_SUFFIX = ".rotary_emb.inv_freq"
# ... the text side of the tower's own file, and what comes after ConvNeXt's stages.
DROPPED_OPEN_CLIP = (
    "visual.trunk.norm_pre.", "visual.trunk.head.", "visual.head.", "text.", "transformer.",
    "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale",
    "attn_mask",
)  # fmt: skip


def load_official(
    folder: str | Path,
    *,
    aux_tower: str | Path | None = None,
    attn_implementation: str | None = None,
) -> MiniGeminiForConditionalGeneration:
    """Load a model in the layout of the official release (``YanweiLi/MGM-7B`` and the like).

    The official loader takes CLIP from the release, and ConvNeXt always from its own file; the
    release's copy is the same weights rounded to bfloat16, as the tower is not trained. To load as
    it does, give ``aux_tower``.

    Parameters
    ----------
    folder
        With ``config.json`` and weights (``*.safetensors``).
    aux_tower
        A folder with ConvNeXt in open_clip's format
        (``laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup``); `None`: from the release.
    attn_implementation
        For CLIP and the language model.

    Returns
    -------
    MiniGeminiForConditionalGeneration
        In eval mode, on the CPU, with every weight as it is stored and in the mapped files;
        `placement.place` converts them one by one. The official evaluation runs in float16.

    Raises
    ------
    FileNotFoundError
        If ``config.json`` or all weights are missing.
    ValueError
        For a release that this class cannot represent, for missing or unknown weights or wrong
        shapes, and for a separate tower where the release has a fine-tuned one.
    """
    folder = Path(folder)
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no config.json in {folder}; give a release's folder") from None
    config = official_config(raw)
    if aux_tower is not None and raw.get("optimize_vision_tower_aux"):
        raise ValueError(
            "optimize_vision_tower_aux is true: this release has a tower of its own training, "
            "which aux_tower would replace; leave aux_tower out"
        )
    with torch.device("meta"):
        wanted = MiniGeminiForConditionalGeneration(config).state_dict()
    state = _read(folder, own_name)
    if aux_tower is not None:
        state = {name: weight for name, weight in state.items() if not name.startswith(AUX)}
        state |= _read(Path(aux_tower), own_name_of_open_clip)
    _check(state, wanted, raw)
    model = MiniGeminiForConditionalGeneration.from_pretrained(
        None, config=config, state_dict=state, dtype=stored_dtype(state.values()),
        attn_implementation=attn_implementation,
    )  # fmt: skip
    for name, weight in model.named_parameters():
        weight.data = state[name]  # a tower of another type was rounded to that of the others
    return model


def official_config(raw: dict) -> MiniGeminiConfig:
    """Configuration from the contents of an official ``config.json``.

    Parameters
    ----------
    raw
        The contents. Sizes of the towers are those under ``vision_config`` and ``aux_config``; an
        official file has neither, and then they are the release's.

    Raises
    ------
    ValueError
        For a kind of model, or a choice, that is not implemented here.
    """
    if raw.get("model_type") not in MODEL_TYPES:
        raise ValueError(
            f"model_type must be one of {', '.join(MODEL_TYPES)}, got {raw.get('model_type')!r}; "
            "this loads official MGM-7B and 13B folders (for a folder written by save_pretrained "
            "use MiniGeminiForConditionalGeneration.from_pretrained)"
        )
    for key, want in EXPECTED.items():
        if raw.get(key, want) != want:
            raise ValueError(f"{key}={raw[key]!r} is not supported, only {want!r}")
    # Not all of the file: keys of the towers and of training would become keys of the text model.
    known = LlamaConfig().to_dict().keys() | {"rope_theta", "rope_scaling"}
    known -= {"model_type", "architectures", "transformers_version", "dtype"}
    own = {key: raw[key] for key in OWN_FIELDS if key in raw}
    if "image_size_aux" not in own:
        raise ValueError("config.json has no image_size_aux; the release's own says 768, HD 1536")
    return MiniGeminiConfig(
        text_config=LlamaConfig(**{key: value for key, value in raw.items() if key in known}),
        vision_config=raw.get("vision_config") or clip_large_336(),
        aux_config=raw.get("aux_config"),
        vision_feature_layer=raw.get("mm_vision_select_layer", -2),
        **own,
    )


def _read(place: Path, rename: Callable[[str], str | None]) -> dict:
    """All weights of a folder, under our names."""
    state = {}
    if not (paths := sorted(place.glob("*.safetensors"))):
        raise FileNotFoundError(f"no *.safetensors in {place}")
    for path in paths:
        for name, weight in load_file(path).items():
            own = rename(name)
            if own in state:
                raise ValueError(
                    f"{name} is in more than one file of {place}; leave one copy of the weights"
                )
            if own is not None:
                state[own] = weight
    return state


def _check(state: dict, wanted: dict, raw: dict) -> None:
    missing = wanted.keys() - state.keys()
    if missing >= {want for want in wanted if want.startswith(AUX)}:
        tower = raw.get("mm_vision_tower_aux", "it")
        raise ValueError(f"the weights have no aux_tower; give aux_tower=, a copy of {tower}")
    if missing:
        raise ValueError(f"missing weights: {_listed(map(official_name, missing))}")
    if unknown := state.keys() - wanted.keys():
        listed = _listed(map(official_name, unknown))
        raise ValueError(f"weights that this model does not have: {listed}")
    for name, weight in state.items():
        if weight.shape != wanted[name].shape:
            raise ValueError(
                f"{official_name(name)} should have the shape {list(wanted[name].shape)}, "
                f"got {list(weight.shape)}; config.json and weights do not belong together"
            )


def _listed(found) -> str:
    found = sorted(found)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(found[:5]) + more


def official_name(name: str) -> str:
    """Name in an official file of a weight of `MiniGeminiForConditionalGeneration`.

    Raises
    ------
    ValueError
        For a name that this model does not have.
    """
    for here, official in PREFIXES:
        if name.startswith(here):
            rest = name.removeprefix(here)
            return official + (_renamed(rest, PARTS) if here == AUX else rest)
    raise ValueError(f"{name} is no weight of MiniGeminiForConditionalGeneration")


def own_name(official: str) -> str | None:
    """Inverse of `official_name`; `None` for a weight to drop.

    Raises
    ------
    ValueError
        For a name that an official file should not have.
    """
    if official.endswith(DROPPED_SUFFIX) or official in DROPPED_OFFICIAL:
        return None
    for here, prefix in PREFIXES:
        if official.startswith(prefix):
            rest = official.removeprefix(prefix)
            return here + (_renamed(rest, TIMM_PARTS) if here == AUX else rest)
    raise ValueError(f"{official} is no weight of an official Mini-Gemini file")


def own_name_of_open_clip(name: str) -> str | None:
    """Name here of a weight of an open_clip ConvNeXt file; `None` to drop it."""
    if name.startswith(DROPPED_OPEN_CLIP):
        return None
    for trunk, official in (("visual.trunk.stem.", "vision_stem."),
                            ("visual.trunk.stages.", "vision_stages.")):  # fmt: skip
        if name.startswith(trunk):
            return AUX + _renamed(official + name.removeprefix(trunk), TIMM_PARTS)
    return AUX + name


def _renamed(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name
