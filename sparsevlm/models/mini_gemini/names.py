"""Names of weights: here, in the official files, and in the file of the second tower."""

from __future__ import annotations

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
STEM = (("embeddings.patch_embeddings.", "vision_stem.0."),
        ("embeddings.layernorm.", "vision_stem.1."))  # fmt: skip
STAGES = ("encoder.stages.", "vision_stages.")
PARTS = (
    (".downsampling_layer.", ".downsample."),
    (".layers.", ".blocks."),
    (".dwconv.", ".conv_dw."),
    (".layernorm.", ".norm."),
    (".pwconv1.", ".mlp.fc1."),
    (".pwconv2.", ".mlp.fc2."),
    (".layer_scale_parameter", ".gamma"),
)
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
            return official + (_aux_to_timm(rest) if here == AUX else rest)
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
            return here + (_aux_from_timm(rest) if here == AUX else rest)
    raise ValueError(f"{official} is no weight of an official Mini-Gemini file")


def own_name_of_open_clip(name: str) -> str | None:
    """Name here of a weight of an open_clip ConvNeXt file; `None` to drop it."""
    if name.startswith(DROPPED_OPEN_CLIP):
        return None
    for trunk, official in (("visual.trunk.stem.", "vision_stem."),
                            ("visual.trunk.stages.", "vision_stages.")):  # fmt: skip
        if name.startswith(trunk):
            return AUX + _aux_from_timm(official + name.removeprefix(trunk))
    return AUX + name


def _aux_to_timm(name: str) -> str:
    for here, official in STEM:
        if name.startswith(here):
            return official + name.removeprefix(here)
    here, official = STAGES
    if not name.startswith(here):
        return name
    return _renamed(official + name.removeprefix(here), PARTS)


def _aux_from_timm(name: str) -> str:
    for here, official in STEM:
        if name.startswith(official):
            return here + name.removeprefix(official)
    here, official = STAGES
    if not name.startswith(official):
        return name
    parts = [(there, mine) for mine, there in PARTS]
    return _renamed(here + name.removeprefix(official), parts)


def _renamed(name: str, pairs) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name
