"""A checkpoint from the disk into memory: safetensors only, no remote code, no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.models.checkpoints.contents import KINDS, check_files, config_of, files_of
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.models.checkpoints.tokenizer import tokenizer_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

    from sparsevlm.models.prompt_builder import PromptBuilder

SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")  # accelerate's placements
QUANTIZATIONS = ("4bit",)
LAYER = re.compile(r"(language_model|model)\.layers\.\d+\..*weight$")  # of a language model
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

    from sparsevlm.models.placement import place, stored_dtype

    if quantization not in (None, *QUANTIZATIONS):
        raise ValueError(f"quantization must be None or '4bit', got {quantization!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise CheckpointError(
            f"device {device!r} was asked for and torch sees no GPU; "
            "`sparsevlm check --profile a100` says why. For a try without one: 'cpu'"
        )
    where, aux, preset = files_of(name, folder)
    raw = check_files(where)
    _check_headers(where)
    if not isinstance(dtype, torch.dtype):
        dtype = getattr(torch, dtype or preset)
    assert isinstance(dtype, torch.dtype), f"torch has no dtype {dtype!r}"
    options = _placement(device, quantization, dtype)
    family, config = config_of(where, raw)
    kind = KINDS[raw["model_type"]][1]
    # Here as they are stored, so that they stay in the mapped file; converted one by one below.
    stored = dtype if options else stored_dtype(_weights(where))
    if kind is None:
        model = _mini_gemini(where, raw, aux, stored, attention, options)
    else:
        model = _from_transformers(where, kind, config, stored, attention, options)
    if not options:
        place(model, device, dtype)
    return model.eval(), builder_of(family, model.config, where)


def _check_headers(where: Path) -> None:
    """Refuse files of weights that do not have the length that their headers say."""
    from safetensors import SafetensorError, safe_open

    for path in where.glob("*.safetensors"):
        try:
            safe_open(path, "pt")
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is cut off or damaged ({error}); fetch or copy it again"
            ) from error


def _weights(where: Path) -> Iterator[torch.Tensor]:
    from safetensors.torch import load_file

    for path in where.glob("*.safetensors"):
        yield from load_file(path).values()


def _from_transformers(
    where: Path,
    kind: str,
    config: PreTrainedConfig,
    dtype: torch.dtype,
    attention: str,
    options: dict,
) -> PreTrainedModel:
    import transformers

    model, report = getattr(transformers, kind).from_pretrained(
        where, config=config, ignore_mismatched_sizes=True, dtype=dtype,
        attn_implementation=attention, use_safetensors=True,
        trust_remote_code=False, local_files_only=True, output_loading_info=True, **options,
    )  # fmt: skip
    # transformers only warns: it fills gaps with random numbers, and leaves out layers too many.
    spare = [key for key in report["unexpected_keys"] if LAYER.search(key)]
    other = [key for key, *_ in report["mismatched_keys"]]
    for what, keys in (
        ("missing", report["missing_keys"]), ("of another shape", other), ("too many", spare)
    ):  # fmt: skip
        if keys:
            raise CheckpointError(
                f"{len(keys)} weights are {what} in {where} (the first: {min(keys)}); config.json "
                "and weights do not belong together: fetch or copy both again"
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
    return load_official(where, aux_tower=aux, attn_implementation=attention)


def builder_of(family: str, config: PreTrainedConfig, where: Path) -> PromptBuilder:
    """Return the prompt builder of a checkpoint, with the tokenizer of its folder.

    Raises
    ------
    CheckpointError
        As `tokenizer.tokenizer_of`; or the tokenizer lacks a placeholder that config.json names.
    """
    from sparsevlm.models.prompts import prompt_builder

    builder = prompt_builder(family, config, tokenizer_of(where, config))
    taken = ((1, builder.template.image), (2, builder.template.video))
    try:
        for num_images in (number for number, text in taken if text):
            builder.ids("?", num_images)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}; fetch or copy its files again") from error
    return builder


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
