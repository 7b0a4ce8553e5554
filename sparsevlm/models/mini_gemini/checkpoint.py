"""Official Mini-Gemini weights into `MiniGeminiForConditionalGeneration`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, ConvNextConfig, GemmaConfig, LlamaConfig

from sparsevlm.models.mini_gemini import names
from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig, clip_large_336
from sparsevlm.models.mini_gemini.modeling import MiniGeminiForConditionalGeneration
from sparsevlm.models.placement import stored_dtype

# Files from before the release was renamed carry the old name.
TEXT_CONFIGS = {
    "mgm": LlamaConfig,
    "mini_gemini": LlamaConfig,
    "mgm_gemma": GemmaConfig,
    "mini_gemini_gemma": GemmaConfig,
}
OWN_FIELDS = ("image_size_aux", "image_grid", "image_global", "image_aspect_ratio")
# What this implementation can do, where the official code has a choice.
EXPECTED = {
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_feature": "patch",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
}


def load_official(
    folder: str | Path,
    *,
    vision_tower: str | Path | None = None,
    aux_tower: str | Path | None = None,
    vision_config: CLIPVisionConfig | None = None,
    aux_config: ConvNextConfig | None = None,
    attn_implementation: str | None = None,
) -> MiniGeminiForConditionalGeneration:
    """Load a model in the layout of the official release (``YanweiLi/MGM-7B`` and the like).

    A tower comes from the release's own files, or from a file of its own where one is given. The
    official loader takes CLIP from the release if it is there, and ConvNeXt always from its own
    file; the release's copies are the same weights rounded to bfloat16, as the towers are not
    trained. To load as it does, give ``aux_tower``, and ``vision_tower`` only if it is needed.

    Parameters
    ----------
    folder
        With ``config.json`` and weights (``*.safetensors``, else ``pytorch_model*.bin``).
    vision_tower
        CLIP in transformers' format (``openai/clip-vit-large-patch14-336``): folder or file.
    aux_tower
        ConvNeXt in open_clip's format
        (``laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup``): folder or file.
    vision_config, aux_config
        Sizes of the towers; those of the release if not given.
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
    raw = _read_config(folder)
    config = official_config(raw, vision_config, aux_config)
    _refuse_replacing(raw, vision_tower, aux_tower)
    with torch.device("meta"):
        wanted = MiniGeminiForConditionalGeneration(config).state_dict()
    state = _read(folder, names.own_name)
    if vision_tower is not None:
        _replace(state, names.CLIP, _read(Path(vision_tower), names.own_name_of_clip))
    if aux_tower is not None:
        _replace(state, names.AUX, _read(Path(aux_tower), names.own_name_of_open_clip))
    if config.tie_word_embeddings:
        _tie(state)
    _check(state, wanted, config, raw)
    model = MiniGeminiForConditionalGeneration.from_pretrained(
        None, config=config, state_dict=state, dtype=stored_dtype(state.values()),
        attn_implementation=attn_implementation,
    )  # fmt: skip
    for name, weight in model.named_parameters():
        weight.data = state[name]  # a tower of another type was rounded to that of the others
    return model


def official_config(
    raw: dict,
    vision_config: CLIPVisionConfig | None = None,
    aux_config: ConvNextConfig | None = None,
) -> MiniGeminiConfig:
    """Configuration from the contents of an official ``config.json``.

    Parameters
    ----------
    raw
        The contents.
    vision_config, aux_config
        Sizes of the towers, which an official file does not have; `None`: those under these names
        in the file, else of the release.

    Raises
    ------
    ValueError
        For a kind of model, or a choice, that is not implemented here.
    """
    kind = raw.get("model_type")
    if kind not in TEXT_CONFIGS:
        raise ValueError(
            f"model_type must be one of {', '.join(TEXT_CONFIGS)}, got {kind!r}; this loads "
            "official MGM-2B, 7B and 13B folders (for a folder written by save_pretrained use "
            "MiniGeminiForConditionalGeneration.from_pretrained)"
        )
    for key, want in EXPECTED.items():
        if raw.get(key, want) != want:
            raise ValueError(f"{key}={raw[key]!r} is not supported, only {want!r}")
    text = TEXT_CONFIGS[kind]
    # Not all of the file: keys of the towers and of training would become keys of the text model.
    known = text().to_dict().keys() | {"rope_theta", "rope_scaling"}
    known -= {"model_type", "architectures", "transformers_version", "dtype"}
    own = {key: raw[key] for key in OWN_FIELDS if key in raw}
    if "image_size_aux" not in own:
        raise ValueError("config.json has no image_size_aux; the release's own says 768, HD 1536")
    return MiniGeminiConfig(
        text_config=text(**{key: value for key, value in raw.items() if key in known}),
        vision_config=vision_config or raw.get("vision_config") or clip_large_336(),
        aux_config=aux_config or raw.get("aux_config"),
        vision_feature_layer=raw.get("mm_vision_select_layer", -2),
        **own,
    )


def _read_config(folder: Path) -> dict:
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"no config.json in {folder}; give the folder of a release")
    return json.loads(path.read_text(encoding="utf-8"))


def _refuse_replacing(raw: dict, vision_tower: object, aux_tower: object) -> None:
    towers = {"vision_tower": vision_tower, "aux_tower": aux_tower}
    keys = {"vision_tower": "optimize_vision_tower", "aux_tower": "optimize_vision_tower_aux"}
    for name, given in towers.items():
        if given is not None and raw.get(keys[name]):
            raise ValueError(
                f"{keys[name]} is true: this release has a tower of its own training, which "
                f"{name} would replace; leave {name} out"
            )


def _read(place: Path, rename: Callable[[str], str | None]) -> dict:
    """All weights of a file or folder, under our names."""
    state = {}
    for path in _files(place):
        for name, weight in _tensors(path):
            own = rename(name)
            if own in state:
                raise ValueError(
                    f"{name} is in more than one file of {place}; leave one copy of the weights"
                )
            if own is not None:
                state[own] = weight
    return state


def _files(place: Path) -> list[Path]:
    """Weight files of a folder: safetensors if there are any, else PyTorch's."""
    if place.is_file():
        return [place]
    for pattern in ("*.safetensors", "*pytorch_model*.bin"):
        if found := sorted(place.glob(pattern)):
            return found
    raise FileNotFoundError(f"no *.safetensors and no *pytorch_model*.bin in {place}")


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    if path.suffix == ".safetensors":
        yield from load_file(path).items()
    else:
        # Only tensors: a pickle may otherwise run any code.
        yield from torch.load(path, map_location="cpu", weights_only=True).items()


def _replace(state: dict, prefix: str, tower: dict) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]
    state.update(tower)


def _tie(state: dict) -> None:
    """Drop a head that is the embedding; the model has one weight for both."""
    head = state.get("lm_head.weight")
    embedding = state.get("model.language_model.embed_tokens.weight")
    if head is None or embedding is None:
        return
    if not torch.equal(head, embedding):
        raise ValueError(
            "config.json says that head and embedding are one weight, but the file has two "
            "different ones; set tie_word_embeddings to false in config.json"
        )
    del state["lm_head.weight"]


def _check(state: dict, wanted: dict, config: MiniGeminiConfig, raw: dict) -> None:
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    missing = wanted.keys() - state.keys() - tied
    for prefix, name, key in ((names.AUX, "aux_tower", "mm_vision_tower_aux"),
                              (names.CLIP, "vision_tower", "mm_vision_tower")):  # fmt: skip
        if missing >= {want for want in wanted if want.startswith(prefix)}:
            raise ValueError(
                f"the weights have no {name}; give {name}=, a copy of {raw.get(key, 'it')}"
            )
    if missing:
        raise ValueError(f"missing weights: {_listed(map(names.official_name, missing))}")
    if unknown := state.keys() - wanted.keys():
        listed = _listed(map(names.official_name, unknown))
        raise ValueError(f"weights that this model does not have: {listed}")
    for name, weight in state.items():
        if weight.shape != wanted[name].shape:
            raise ValueError(
                f"{names.official_name(name)} should have the shape {list(wanted[name].shape)}, "
                f"got {list(weight.shape)}; config.json and weights do not belong together"
            )


def _listed(found) -> str:
    found = sorted(found)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(found[:5]) + more
