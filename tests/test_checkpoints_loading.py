"""Loading checkpoints: from a folder, from what was fetched, and what is refused."""

from __future__ import annotations

import json
import shutil
import socket
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import (
    FAMILIES,
    as_fetched,
    picture,
    save_every,
    save_tiny,
)

import sparsevlm as sv
from sparsevlm.models.checkpoints import CHECKPOINTS, find
from sparsevlm.models.checkpoints.contents import check_files, files_of
from sparsevlm.models.checkpoints.loading import load
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.models.prompts.llava import LlavaPromptBuilder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_every(tmp_path_factory)


# --- The table ------------------------------------------------------------------------------------


def test_the_table_is_of_the_seven_models():
    assert [c.name for c in CHECKPOINTS] == [
        "llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-13b-hf", "Qwen/Qwen2-VL-7B-Instruct",
        "Qwen/Qwen2.5-VL-7B-Instruct", "llava-hf/llava-v1.6-vicuna-7b-hf",
        "LanguageBind/Video-LLaVA-7B-hf", "YanweiLi/MGM-7B",
    ]  # fmt: skip
    for checkpoint in CHECKPOINTS:
        assert find(checkpoint.short) is checkpoint is find(checkpoint.name)
        main = checkpoint.repositories[0]
        assert main.id == checkpoint.name and main.required and main.licence
        assert main.about_bytes == pytest.approx(2 * checkpoint.parameters, rel=0.01)
        assert main.pinned == (checkpoint.short != "mgm-7b")


# --- Loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_loaded_whole_and_prunes(folders, family):
    folder, model = folders[family]
    found, builder = load(folder, dtype="float32", device="cpu")
    assert builder.config is found.config and not found.training
    want = model.state_dict()
    got = found.state_dict()
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)
    frames = [picture(24, 24, n) for n in range(4 if family == "video_llava" else 1)]
    questions = ["Why?"] if family == "qwen2_vl" else ["Why?", "What is on the sign?"]
    inputs = builder.inputs(questions, [frames] * len(questions))
    pruner = sv.make_pruner(
        "sparsevlm", tokens=40, num_layers=8, num_visual=256, positions="original"
    )
    with torch.inference_mode(), sv.prune(found, pruner) as trace:
        output = found.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert all(isinstance(text, str) for text in builder.decode(output[:, -2:]))
    assert len(trace.samples) == len(questions) and trace.samples[0].stages


def test_half_precision_by_default_and_no_network(folders, monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    as_fetched("llava-7b", folders["llava"][0], tmp_path)
    model, builder = load("llava-hf/llava-1.5-7b-hf", device="cpu", folder=tmp_path)
    assert model.dtype is torch.float16 and isinstance(builder, LlavaPromptBuilder)
    assert model.config._attn_implementation == "sdpa"


def test_the_dtype_is_that_of_the_table(folders, tmp_path):
    as_fetched("qwen2-vl-7b", folders["qwen2_vl"][0], tmp_path)
    assert load("qwen2-vl-7b", device="cpu", folder=tmp_path)[0].dtype is torch.bfloat16


def test_a_folder_named_by_the_environment(folders, tmp_path, monkeypatch):
    as_fetched("mgm-7b", folders["mini_gemini"][0], tmp_path)
    monkeypatch.setenv("SPARSEVLM_CHECKPOINTS", str(tmp_path))
    where, aux, dtype = files_of("mgm-7b")
    assert where.name == "a" * 40 and aux is None and dtype == "float16"


def test_what_has_not_been_fetched(tmp_path):
    with pytest.raises(CheckpointError, match=r"fetch llava-hf/llava-1.5-7b-hf` \(about 14.1 GB\)"):
        load("llava-7b", device="cpu", folder=tmp_path)
    with pytest.raises(
        ValueError, match="unknown checkpoint 'lava'; known: .* or give a local fol"
    ):
        load("lava", device="cpu", folder=tmp_path)


def test_a_file_that_vanished_after_the_fetch(folders, tmp_path):
    source = tmp_path / "copy"
    save_tiny("llava", source)
    as_fetched("llava-7b", source, tmp_path / "kept")
    (source / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not complete .* config.json has 2 bytes instead of"):
        load("llava-7b", device="cpu", folder=tmp_path / "kept")


# --- Refusals -------------------------------------------------------------------------------------


def folder_with(tmp_path, config=None, files=("model.safetensors",)):
    (tmp_path / "config.json").write_text(json.dumps(config or {"model_type": "llava"}))
    for name in files:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "files", "match"),
    [
        ({"model_type": "llava", "auto_map": {"AutoModel": "x.Y"}}, (), r"run code .*\(auto_map\)"),
        (
            {"model_type": "bert"},
            (),
            "of type 'bert'; loaded here: llava, llava_next, video_llava",
        ),
        (None, (), "no safetensors in .*; copy the weights there"),
        (None, ("pytorch_model.bin",), "only pickled weights .* Convert a copy that you trust"),
    ],
)
def test_folders_that_are_refused(tmp_path, config, files, match):
    with pytest.raises(CheckpointError, match=match):
        check_files(folder_with(tmp_path, config, files))


def test_code_of_a_tokenizer_is_refused(tmp_path):
    folder_with(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        '{"auto_map": {"AutoTokenizer": ["x.Y", null]}}'
    )
    with pytest.raises(CheckpointError, match="tokenizer_config.json asks to run code"):
        check_files(tmp_path)


def test_a_missing_shard(tmp_path):
    folder_with(tmp_path, files=("model-1.safetensors",))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="1 of 2 files of weights are missing .*model-2.safe"):
        check_files(tmp_path)


def test_no_folder_of_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no config.json in"):
        load(tmp_path, device="cpu")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json is not JSON"):
        load(tmp_path, device="cpu")


def in_config(**fields):
    def change(folder):
        values = json.loads((folder / "config.json").read_text())
        values["text_config"] |= {k: v for k, v in fields.items() if k in values["text_config"]}
        values |= {k: v for k, v in fields.items() if k not in values["text_config"]}
        (folder / "config.json").write_text(json.dumps(values))

    return change


def of_weights(change):
    def changed(folder):
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return changed


@pytest.mark.parametrize(("change", "said"), [
    (in_config(num_hidden_layers=2), "weights are too many in .*do not belong together"),
    (in_config(num_hidden_layers=9), "weights are missing in .*do not belong together"),
    (in_config(vocab_size=200), "2 weights are of another shape in .*do not belong together"),
    (in_config(image_token_index=None), "config.json cannot be used .*image_token_index"),
    (in_config(image_token_index=99999), "no placeholder with the id 99999"),
    (lambda folder: (folder / "config.json").write_text("[]"), "config.json must hold a JSON obj"),
    (of_weights(lambda content: content[: len(content) // 2]), "safetensors is cut off or damaged"),
    (of_weights(lambda _: b"<html>"), "safetensors is cut off or damaged"),
    (of_weights(lambda _: b""), "safetensors is cut off or damaged"),
])  # fmt: skip
def test_files_that_do_not_belong_together(folders, tmp_path, change, said):
    shutil.copytree(folders["llava"][0], tmp_path, dirs_exist_ok=True)
    change(tmp_path)
    with pytest.raises(CheckpointError, match=said) as raised:
        load(tmp_path, device="cpu")
    assert "\n" not in str(raised.value)


def test_missing_weights_are_not_made_up(tmp_path):
    save_tiny("llava", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    dropped = next(name for name in weights if "layers.3" in name and "q_proj" in name)
    del weights[dropped]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="1 weights are missing .*q_proj"):
        load(tmp_path, device="cpu")


def test_quantizations(folders):
    folder, _ = folders["llava"]
    with pytest.raises(ValueError, match="None or '4bit', got '3bit'"):
        load(folder, quantization="3bit")
    if not find_spec("bitsandbytes"):
        with pytest.raises(CheckpointError, match=r"4 bits needs the package .*\[quantised\]"):
            load(folder, quantization="4bit", device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folders):
    with pytest.raises(CheckpointError, match="'cuda' was asked for and torch sees no GPU"):
        load(folders["llava"][0])


def test_spreading_needs_accelerate(folders):
    if not find_spec("accelerate"):
        with pytest.raises(CheckpointError, match=r"device='auto'\) needs the package accelerate"):
            load(folders["llava"][0], device="auto")


# --- Optional packages ----------------------------------------------------------------------------


def answer(model, builder, method="sparsevlm"):
    inputs = builder.inputs(["What is on the sign?"], [[picture(90, 60)]])
    pruner = sv.make_pruner(method, tokens=64, num_layers=8, num_visual=576)
    with torch.inference_mode(), sv.prune(model, pruner) as trace:
        output = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    return output[0, -4:].tolist(), trace.samples[0].stages


def test_a_dispatched_model_prunes_the_same(folders):
    """Layers kept away from the device that runs them come one by one (accelerate)."""
    accelerate = pytest.importorskip("accelerate")
    folder, _ = folders["llava"]
    model, builder = load(folder, dtype="float32", device="cpu")
    want = answer(model, builder)
    spread, _ = load(folder, dtype="float32", device="auto")
    assert answer(spread, builder)[0] == want[0]
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert next(model.model.language_model.layers[0].parameters()).is_meta
    tokens, stages = answer(model, builder)
    assert tokens == want[0]
    assert [stage.kept for stage in stages] == [stage.kept for stage in want[1]]


def test_four_bits(folders):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model, builder = load(folders["llava"][0], dtype="float32", device="cpu", quantization="4bit")
    layer = model.model.language_model.layers[0]
    assert isinstance(layer.self_attn.q_proj, bitsandbytes.nn.Linear4bit)
    assert type(model.lm_head) is torch.nn.Linear
    tower = model.model.vision_tower
    assert not any(isinstance(m, bitsandbytes.nn.Linear4bit) for m in tower.modules())
    assert len(answer(model, builder)[0]) == 4


def test_mini_gemini_comes_whole(folders):
    """Neither in 4 bits nor spread, whether the packages for that are there or not."""
    with pytest.raises(CheckpointError, match="on one device|needs the package"):
        load(folders["mini_gemini"][0], device="cpu", quantization="4bit")
