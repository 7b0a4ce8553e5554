"""Tiny checkpoints of the paper's five, as a fetch leaves them.

File names, names of weights, fields of the configurations and vocabularies are those of the real
repositories; so are the numbers of layers and of visual tokens. Widths are tiny and the weights
random, drawn so that an answer is a word or two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from spread import spread
from torch import Tensor, nn
from vocabularies import WRITERS

from sparsevlm.models.checkpoints import CHECKPOINTS, Checkpoint
from sparsevlm.models.checkpoints.places import (
    FileEntry,
    Locked,
    content_digest,
    place,
    write_lock,
)
from sparsevlm.models.mini_gemini import MiniGeminiForConditionalGeneration
from sparsevlm.models.mini_gemini.checkpoint import AUX, official_config, official_name

WIDTH, HEADS = 64, 16  # SparseVLM+ chooses 14 of the heads
ANSWERS = "Yes No A B C D 1 2 red blue left right".split()
# A word of the prompt, and the answer that it makes likelier; later ones go before earlier ones.
TAUGHT = {"letter": "A", "color": "red", "phrase": "Yes"}
LOUD, LEAN = 100.0, 8.0  # in an embedding; gain of the last layer, per visual token
SHARDS = 3
UNPINNED = "4dd6abe" + "0" * 33  # the commit of a repository whose revision is not known

CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 14, "projection_dim": 32,
}  # fmt: skip
TEXT = {
    "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """How the repositories of one architecture look.

    Attributes
    ----------
    config : dict
        What config.json holds beside the sizes of the decoder.
    names : sequence of (str, str)
        Beginnings of the names of weights: of transformers 5, and in the files.
    model : str
        Class in transformers; "" for Mini-Gemini.
    """

    config: dict
    names: tuple[tuple[str, str], ...] = ()
    model: str = ""


VICUNA_NAMES = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)
KINDS = {
    "llava": Kind(
        {
            "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
            "image_token_index": 32000, "pad_token_id": 32001, "ignore_index": -100,
            "projector_hidden_act": "gelu", "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default", "vocab_size": 32064,
            "torch_dtype": "float16", "tie_word_embeddings": False,
            "vision_config": {**CLIP, "image_size": 336},
        },
        VICUNA_NAMES, "LlavaForConditionalGeneration",
    ),
    "video_llava": Kind(
        {
            "model_type": "video_llava", "architectures": ["VideoLlavaForConditionalGeneration"],
            "image_token_index": 32000, "video_token_index": 32001, "pad_token_id": 32002,
            "ignore_index": -100, "projector_hidden_act": "gelu", "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default", "vocab_size": 32064,
            "torch_dtype": "float16", "tie_word_embeddings": False,
            "vision_config": {**CLIP, "image_size": 224},
        },
        VICUNA_NAMES, "VideoLlavaForConditionalGeneration",
    ),
    "qwen2_vl": Kind(
        {
            "model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"],
            "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
            "vision_end_token_id": 151653, "vision_token_id": 151654, "bos_token_id": 151643,
            "eos_token_id": 151645, "hidden_act": "silu", "rope_theta": 1000000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}, "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 28,
            "torch_dtype": "bfloat16", "tie_word_embeddings": False,
            "vision_config": {
                "depth": 2, "embed_dim": 32, "hidden_size": WIDTH, "in_chans": 3, "mlp_ratio": 2,
                "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2,
                "spatial_patch_size": 14, "temporal_patch_size": 2,
            },
        },
        (("model.language_model.", "model."), ("model.visual.", "visual.")),
        "Qwen2VLForConditionalGeneration",
    ),
    "mini_gemini": Kind(
        {
            "model_type": "mgm", "architectures": ["MGMLlamaForCausalLM"], "hidden_act": "silu",
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
            "image_aspect_ratio": "pad", "image_grid": 1, "image_global": False,
            "image_size_aux": 768, "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
            "mm_use_im_start_end": False, "mm_use_im_patch_token": False,
            "mm_vision_tower": "model_zoo/OpenAI/clip-vit-large-patch14-336",
            "mm_vision_tower_aux": "model_zoo/OpenAI/openclip-convnext-large-d-320-laion2B-s29B-"
            "b131K-ft-soup", "torch_dtype": "bfloat16", "use_cache": True,
            # The real file leaves these to the towers' own repositories.
            "vision_config": {**CLIP, "image_size": 336},
            "aux_config": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1],
                           "patch_size": 4},
        },
    ),
}  # fmt: skip

KINDS["llava_next"] = Kind(
    {
        **KINDS["llava"].config, "model_type": "llava_next",
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    },
    VICUNA_NAMES, "LlavaNextForConditionalGeneration",
)  # fmt: skip
KINDS["qwen2.5-vl-7b"] = Kind(
    {
        **KINDS["qwen2_vl"].config, "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "vision_config": {
            "depth": 2, "hidden_size": 32, "out_hidden_size": WIDTH, "intermediate_size": 64,
            "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "window_size": 112, "fullatt_block_indexes": [1],
        },
    },
    KINDS["qwen2_vl"].names, "Qwen2_5_VLForConditionalGeneration",
)  # fmt: skip


def write_checkpoints(folder: Path, names: tuple[str, ...] = ()) -> Path:
    """Write checkpoints into the folder of SPARSEVLM_CHECKPOINTS, with its lock file.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    names : tuple of str
        Short names of the checkpoints; all by default.
    """
    locks = {}
    for number, checkpoint in enumerate(CHECKPOINTS):
        if names and checkpoint.short not in names:
            continue
        main, *towers = checkpoint.repositories
        places = []
        for repository in (main, *towers):
            commit = repository.revision if repository.pinned else UNPINNED
            places.append((repository, commit, place(repository, commit, folder)))
            places[-1][2].mkdir(parents=True, exist_ok=True)
        write_checkpoint(checkpoint, places[0][2], number)
        for _, _, tower in places[1:]:
            _write_tower(places[0][2], tower)
        locks |= {one.id: Locked(commit, _files(where)) for one, commit, where in places}
    write_lock(folder, locks)
    return folder


def write_checkpoint(checkpoint: Checkpoint, where: Path, seed: int = 0) -> None:
    """Write the files of one repository into a folder."""
    kind = KINDS.get(checkpoint.short) or KINDS[checkpoint.family]
    WRITERS[checkpoint.family](where)
    sizes = {
        **TEXT, "num_hidden_layers": checkpoint.sizes.layers,
        "vocab_size": checkpoint.sizes.vocabulary,
    }  # fmt: skip
    flat = checkpoint.family in ("qwen2_vl", "mini_gemini")
    text = sizes if flat else {"text_config": {"model_type": "llama", **sizes}}
    raw = {**text, **kind.config}
    (where / "config.json").write_text(json.dumps(raw, indent=2))
    model = _model(kind, raw, where)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        spread(model, seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, config=model.config)
    _teach(model, tokenizer, LEAN * checkpoint.sizes.num_visual)
    dtype = getattr(torch, raw["torch_dtype"])
    weights = {name: value.to(dtype) for name, value in _named(kind, model)}
    _write_shards(weights, where)
    end = {"bos_token_id": 1, "eos_token_id": 2} if checkpoint.family != "qwen2_vl" else {
        "bos_token_id": 151643, "eos_token_id": [151645, 151643]}  # fmt: skip
    (where / "generation_config.json").write_text(json.dumps(end))


def _model(kind: Kind, raw: dict, where: Path) -> nn.Module:
    if not kind.model:
        return MiniGeminiForConditionalGeneration(official_config(raw))
    config = transformers.AutoConfig.from_pretrained(where)
    return getattr(transformers, kind.model)(config)


def _id(tokenizer: object, word: str) -> int:
    """The token of a word after a blank."""
    return tokenizer(f"a {word}", add_special_tokens=False)["input_ids"][-1]


def _teach(model: nn.Module, tokenizer: object, gain: float) -> None:
    """Let answers be short and of a few words, some of them likelier after a word of the prompt.

    The first coordinates of the residual stream are nobody else's: an embedding writes one, the
    last layer, which looks at all tokens alike, copies it to the last token, and the head reads it.
    The end of an answer reads one that the embeddings of its words write.
    """
    decoder, count = model.get_decoder(), len(TAUGHT)
    embedding, head = model.get_input_embeddings().weight, model.lm_head.weight
    last, own = decoder.layers[-1].self_attn, slice(2 * count + 1)
    words = [_id(tokenizer, word) for word in ANSWERS]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    end = tokenizer.eos_token_id if end in (None, tokenizer.unk_token_id) else end
    with torch.no_grad():
        # 1. Nobody else writes or reads these coordinates.
        for part in model.modules():
            if isinstance(part, nn.Linear) and part.out_features == WIDTH:
                part.weight[own] = 0
                if part.bias is not None:
                    part.bias[own] = 0
        embedding[:, own] = head[:, own] = 0

        # 2. The head knows the words and the end, which comes after a word.
        unknown = torch.ones(len(head), dtype=torch.bool)
        unknown[[*words, end]] = False
        head[unknown] = 0
        embedding[words, 2 * count] = LOUD
        head[end, 2 * count] = LOUD

        # 3. What a word of the prompt makes likelier.
        for part in (last.q_proj, last.k_proj):
            for weight in part.parameters():
                weight.zero_()
        for number, (word, answer) in enumerate(TAUGHT.items()):
            embedding[_id(tokenizer, word), number] = LOUD
            last.v_proj.weight[number] = 0
            last.v_proj.weight[number, number] = 1
            last.o_proj.weight[count + number] = 0
            last.o_proj.weight[count + number, number] = gain
            head[_id(tokenizer, answer), count + number] = 4 + number


def _named(kind: Kind, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names of the files."""
    for name, weight in model.state_dict().items():
        if not kind.model:
            yield official_name(name), weight
            continue
        here, there = next((n for n in kind.names if name.startswith(n[0])), ("", ""))
        yield there + name.removeprefix(here), weight


def _write_shards(weights: dict[str, Tensor], where: Path) -> None:
    names = sorted(weights)
    size = -(-len(names) // SHARDS)
    mapped = {}
    for number in range(SHARDS):
        file = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        part = {n: weights[n].contiguous() for n in names[number * size : (number + 1) * size]}
        save_file(part, where / file, {"format": "pt"})
        mapped |= dict.fromkeys(part, file)
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": mapped}
    (where / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_tower(release: Path, where: Path) -> None:
    """Write the second tower as LAION has it: the same weights under the names of open_clip."""
    from safetensors.torch import load_file

    found = {}
    for file in release.glob("*.safetensors"):
        for name, weight in load_file(file).items():
            if name.startswith(AUX):
                found[name.removeprefix(AUX).replace("vision_", "visual.trunk.")] = weight.float()
    save_file(found, where / "open_clip_pytorch_model.safetensors")


def _files(where: Path) -> tuple[FileEntry, ...]:
    return tuple(
        FileEntry(path.name, path.stat().st_size, "sha256", content_digest(path, "sha256"))
        for path in sorted(where.iterdir())
    )
