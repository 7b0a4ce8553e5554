"""A vocabulary that is missing, empty, cut off or another model's is refused in one sentence."""

from __future__ import annotations

import json
import shutil

import pytest
import vocabularies
from transformers import LlamaConfig, LlavaConfig, Qwen2VLConfig

from sparsevlm.models.checkpoints.contents import check_files
from sparsevlm.models.checkpoints.loading import builder_of
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.models.mini_gemini import MiniGeminiConfig

CONFIGS = {
    "llava": LlavaConfig(text_config=LlamaConfig(vocab_size=32064)),
    "mini_gemini": MiniGeminiConfig(),
    "qwen2_vl": Qwen2VLConfig(
        image_token_id=151655, video_token_id=151656,
        text_config={"model_type": "qwen2_vl_text", "vocab_size": 152064},
    ),
}  # fmt: skip
ALL = {
    "llava": ("tokenizer.json", "tokenizer.model"),
    "mini_gemini": ("tokenizer.model",),
    "qwen2_vl": ("tokenizer.json", "vocab.json", "merges.txt"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for family in CONFIGS:
        made[family] = tmp_path_factory.mktemp(family)
        vocabularies.WRITERS[family](made[family])
    return made


@pytest.fixture
def copy(folders, tmp_path):
    """Return a function from a family to a copy of its folder."""
    return lambda family: shutil.copytree(folders[family], tmp_path, dirs_exist_ok=True)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def edited(change):
    def edit(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return edit


def no_image(content):
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<image>"]


def half_of_the_merges(content):
    content["model"]["merges"] = content["model"]["merges"][:30_000]


def half_of_the_words(content):
    few = set(list(content["model"]["vocab"])[:16_000])
    content["model"]["vocab"] = {t: n for t, n in content["model"]["vocab"].items() if t in few}
    merges = (pair.split(" ") for pair in content["model"]["merges"])
    content["model"]["merges"] = [
        pair for pair in merges if {*pair, "".join(pair)} <= few
    ]  # fmt: skip


FAULTS = [
    ("mini_gemini", {"tokenizer.model": empty}, "tokenizer.model is empty"),
    ("mini_gemini", {"tokenizer.model": half}, "cannot be read"),
    ("llava", {"tokenizer.json": empty}, "tokenizer.json is empty"),
    ("llava", {"tokenizer.json": half}, "cannot be read"),
    ("llava", {"tokenizer.json": edited(dict.clear)}, "cannot be read"),
    ("llava", {"tokenizer.json": edited(half_of_the_merges)}, "merges of .* are cut off"),
    ("llava", {"tokenizer.json": edited(half_of_the_words)}, "has 16.* tokens and .* has 32064"),
    ("llava", {"tokenizer_config.json": half}, "cannot be read"),
    ("llava", {"tokenizer.json": edited(no_image), "tokenizer_config.json": edited(
        lambda content: content["added_tokens_decoder"].pop("32000"))}, "placeholder"),
    ("qwen2_vl", {"tokenizer.json": half}, "cannot be read"),
    ("qwen2_vl", {"merges.txt": empty}, "merges.txt is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "faults", "said"), FAULTS)
def test_a_damaged_vocabulary(copy, family, faults, said):
    folder = copy(family)
    for name, damage in faults.items():
        damage(folder / name)
    with pytest.raises(CheckpointError, match=said) as error:
        builder_of(family, CONFIGS[family], folder)
    assert str(folder) in str(error.value) and "again" in str(error.value)


@pytest.mark.parametrize("damage", [half, empty])
@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_damaged_vocabulary_in_two_files(copy, name, damage):
    folder = copy("qwen2_vl")
    (folder / "tokenizer.json").unlink()
    damage(folder / name)
    with pytest.raises(CheckpointError, match=f"cannot be read|{name} is empty"):
        builder_of("qwen2_vl", CONFIGS["qwen2_vl"], folder)


@pytest.mark.parametrize("family", ALL)
def test_a_folder_without_a_vocabulary(copy, family):
    folder = copy(family)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder / "model.safetensors").write_bytes(b"")
    check_files(folder)
    for name in ALL[family]:
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"lacks the vocabulary .* vocab.json with merges"):
        check_files(folder)
    with pytest.raises(CheckpointError, match="lacks the vocabulary"):
        builder_of(family, CONFIGS[family], folder)


def test_a_vocabulary_of_another_model(folders):
    with pytest.raises(CheckpointError, match="has 151657 tokens and the model has 32064"):
        builder_of("llava", CONFIGS["llava"], folders["qwen2_vl"])
    with pytest.raises(CheckpointError, match="has 32002 tokens and the model has 32000"):
        builder_of("mini_gemini", CONFIGS["mini_gemini"], folders["llava"])
