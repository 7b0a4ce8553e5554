"""A checkpoint from the disk into memory: safetensors only, no remote code, no network."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.models.checkpoints.declared import declared, find
from sparsevlm.models.checkpoints.places import CheckpointError, default_folder, locate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from sparsevlm.models.prompt_builder import PromptBuilder

# model_type in config.json to (family, class in transformers; None: models/mini_gemini).
KINDS = {
    "llava": ("llava", "LlavaForConditionalGeneration"),
    "video_llava": ("video_llava", "VideoLlavaForConditionalGeneration"),
    "qwen2_vl": ("qwen2_vl", "Qwen2VLForConditionalGeneration"),
    "qwen2_5_vl": ("qwen2_vl", "Qwen2_5_VLForConditionalGeneration"),
    "mgm": ("mini_gemini", None),
    "mini_gemini": ("mini_gemini", None),
}
SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")  # accelerate's placements
QUANTIZATIONS = ("4bit",)
# What stays in half precision under 4 bits, by the beginning of its name.
HALF = [
    *(f"model.{part}" for part in ("vision_tower", "image_tower", "video_tower", "visual")),
    "model.multi_modal_projector",
    "lm_head",
]


def load(
    name: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: str = "cuda",
    attention: str = "sdpa",
    quantization: str | None = None,
    folder: Path | None = None,
) -> tuple[PreTrainedModel, PromptBuilder]:
    """Load a checkpoint of the paper, or of the same architecture from a folder.

    Parameters
    ----------
    name
        Name or short name in the table (`declared.CHECKPOINTS`), fetched before; or a folder with
        config.json, safetensors and tokenizer.
    dtype
        Of the weights; by default the table's, and float16 for a folder.
    device
        "cpu", "cuda", "cuda:1"; or one of accelerate's placements ("auto", ...), which moves to
        main memory what does not fit. All decoder layers must come to run on one device.
    attention
        Attention kernel, as transformers names it.
    quantization
        "4bit" (NF4 of bitsandbytes, computed in `dtype`) or None. Vision towers, projectors and
        the output head stay in `dtype`.
    folder
        Where fetched checkpoints are; by default `places.default_folder`.

    Returns
    -------
    model
        In eval mode.
    builder
        Makes its inputs and reads its answers.

    Raises
    ------
    CheckpointError
        The checkpoint is not there, incomplete, pickled, wants to run code of its own, or lacks
        weights; or the device or an optional package is missing.
    ValueError
        An unknown name or quantization.
    """
    import torch

    if quantization not in (None, *QUANTIZATIONS):
        raise ValueError(f"quantization must be None or '4bit', got {quantization!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise CheckpointError(
            f"device {device!r} was asked for and torch sees no GPU; "
            "`sparsevlm check --profile a100` says why. For a try without one: 'cpu'"
        )
    where, aux, preset = files_of(name, folder)
    raw = check_files(where)
    if not isinstance(dtype, torch.dtype):
        dtype = getattr(torch, dtype or preset)
    assert isinstance(dtype, torch.dtype), f"torch has no dtype {dtype!r}"
    options = _placement(device, quantization, dtype)
    family, kind = KINDS[raw["model_type"]]
    if kind is None:
        model = _mini_gemini(where, raw, aux, dtype, attention, options)
    else:
        model = _from_transformers(where, kind, dtype, attention, options)
    if not options:
        model = model.to(device)
    return model.eval(), _builder(family, model, where)


def files_of(name: str | Path, folder: Path | None = None) -> tuple[Path, Path | None, str]:
    """Return where the files of a checkpoint are, those of its second tower, and its dtype.

    Raises
    ------
    ValueError
        The name is neither in the table nor a folder.
    CheckpointError
        It is in the table, and not fetched or not complete.
    """
    if not declared(str(name)) and Path(name).is_dir():
        return Path(name), None, "float16"
    checkpoint = find(str(name))
    folder = folder or default_folder()
    main, *towers = checkpoint.repositories
    aux = None
    for tower in towers:
        try:
            aux = locate(tower, folder)
        except CheckpointError:
            if tower.required:
                raise
    return locate(main, folder), aux, checkpoint.dtype


def check_files(where: Path) -> dict:
    """Return the contents of config.json, or refuse what would not be loaded as it should.

    Raises
    ------
    CheckpointError
        No config.json, an architecture that is not loaded here, code to be run, weights that are
        pickled, or shards that are missing.
    """
    raw = _json(where / "config.json")
    if raw is None:
        raise CheckpointError(f"no config.json in {where}; give the folder of a checkpoint")
    if raw.get("model_type") not in KINDS:
        raise CheckpointError(
            f"{where} is a model of type {raw.get('model_type')!r}; loaded here: {', '.join(KINDS)}"
        )
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        if "auto_map" in (_json(where / name) or {}):
            raise CheckpointError(
                f"{where / name} asks to run code that comes with the checkpoint (auto_map); that "
                "is not done here. Use the conversion that transformers has a class for"
            )
    _check_weights(where)
    return raw


def _check_weights(where: Path) -> None:
    index = _json(where / "model.safetensors.index.json")
    wanted = sorted(set(index["weight_map"].values())) if index else []
    if lacking := [name for name in wanted if not (where / name).is_file()]:
        raise CheckpointError(
            f"{len(lacking)} of {len(wanted)} files of weights are missing in {where}: "
            f"{', '.join(lacking[:3])}; fetch or copy them again"
        )
    if not any(where.glob("*.safetensors")):
        pickled = any(where.glob("*.bin"))
        raise CheckpointError(
            f"no safetensors in {where}"
            + (
                ": only pickled weights (.bin), which can run any code when they are opened and "
                "are not loaded. Convert a copy that you trust with save_pretrained"
                if pickled
                else "; copy the weights there"
            )
        )


def _json(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); fetch or copy it again") from error


def _from_transformers(
    where: Path, kind: str, dtype: torch.dtype, attention: str, options: dict
) -> PreTrainedModel:
    import transformers

    model, report = getattr(transformers, kind).from_pretrained(
        where, dtype=dtype, attn_implementation=attention, use_safetensors=True,
        trust_remote_code=False, local_files_only=True, output_loading_info=True, **options,
    )  # fmt: skip
    # transformers only warns, and fills the gap with random numbers.
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{len(lacking)} weights are missing in {where} (the first: {lacking[0]}); config.json "
            "and weights do not belong together"
        )
    return model


def _mini_gemini(
    where: Path, raw: dict, aux: Path | None, dtype: torch.dtype, attention: str, options: dict
) -> PreTrainedModel:
    from sparsevlm.models.mini_gemini import MiniGeminiForConditionalGeneration, load_official

    if options:
        raise CheckpointError(
            "Mini-Gemini is converted while it is loaded, so it comes whole, in half precision and "
            "on one device (15 GB); leave quantization out and name the device"
        )
    # The release is flat; a folder written by save_pretrained has the language model apart.
    if "text_config" in raw:
        return MiniGeminiForConditionalGeneration.from_pretrained(
            where, dtype=dtype, attn_implementation=attention, use_safetensors=True,
            local_files_only=True,
        )  # fmt: skip
    return load_official(where, aux_tower=aux, dtype=dtype, attn_implementation=attention)


def _builder(family: str, model: PreTrainedModel, where: Path) -> PromptBuilder:
    from transformers import AutoTokenizer

    from sparsevlm.models.prompts import prompt_builder

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            where, config=model.config, trust_remote_code=False, local_files_only=True
        )
    except (ImportError, ValueError) as error:
        raise CheckpointError(
            f"the tokenizer in {where} cannot be read: {error}. Where there is a tokenizer.model "
            "and no tokenizer.json (MGM), pip install 'sparsevlm-repro[a100]'"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token  # as Vicuna has it
    return prompt_builder(family, model.config, tokenizer)


def _placement(device: str, quantization: str | None, dtype: torch.dtype) -> dict:
    """Return the options of a model that is spread over devices or quantised, {} for others."""
    what = {"accelerate": f"placing a model over devices (device={device!r})"}
    if quantization:
        what = dict.fromkeys(("accelerate", "bitsandbytes"), "loading in 4 bits")
    elif device not in SPREAD:
        return {}
    for package in what:
        if find_spec(package) is None:
            raise CheckpointError(
                f"{what[package]} needs the package {package}: "
                "pip install 'sparsevlm-repro[quantised]'"
            )
    placed = {"device_map": device if device in SPREAD else {"": device}}
    if not quantization:
        return placed
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=HALF,
    )
    return {**placed, "quantization_config": config}
