"""The pruned model as other harnesses get it; what needs none of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from miniature_batch import batch
from PIL import Image
from tiny_checkpoints import picture, save_tiny

import sparsevlm as sv
from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.cli.app import main
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.integrations.answering import Answerer, pictures_of
from sparsevlm.integrations.local_task import (
    find_task,
    installed_tasks,
    settings_of,
    write_task,
)
from sparsevlm.integrations.settings import cut_at, generation_of, size_of
from sparsevlm.miniature.questions import benchmark_samples
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.miniature.weights import load_miniature

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

# Answering


def direct(samples, method, tokens):
    """The miniature's answers by its own builder."""
    model, builder = load_miniature("mini-llava")
    pruner = sv.make_pruner(method, tokens=tokens, num_layers=8, num_visual=576)
    inputs = batch("mini-llava", builder, samples)
    with torch.inference_mode(), sv.prune(model, pruner) as trace:
        output = model.generate(**inputs, do_sample=False, max_new_tokens=8)
    texts = builder.decode(output[:, inputs["input_ids"].shape[1] :])
    return texts, trace.samples[0].tokens_out


@pytest.fixture(scope="module")
def samples():
    return benchmark_samples("pope", 12, 0)


def test_a_miniature_answers_as_in_the_suite(samples):
    want, tokens_out = direct(samples, "sparsevlm", 64)
    answerer = Answerer("mini-llava", method="sparsevlm", tokens=64, device="cpu")
    scenes = [[make_scene(sample.seed).image] for sample in samples]
    got = answerer.answer([sample.question for sample in samples], scenes, max_new_tokens=8)
    assert got == want and set(got) == {"yes", "no"}
    assert answerer.counts == [(576, pytest.approx(sum(tokens_out) / len(tokens_out)))] * 12


def test_a_checkpoint_is_asked_as_the_papers_scripts_ask(tmp_path):
    save_tiny("llava", tmp_path)
    answerer = Answerer(str(tmp_path), tokens=64, device="cpu", dtype="float32", recycle=0.0)
    assert answerer.pruner.recycle == 0.0
    prompts = answerer.builder.prompt("Why?")
    assert prompts.startswith("A chat between a curious user") and "<image>\nWhy?" in prompts
    answers = answerer.answer(["Why?", "Who?"], [[picture(30, 20)], []], max_new_tokens=2)
    assert len(answers) == 2 and len(answerer.counts) == 1  # the second question has no picture


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("mini-llava", {}, "name the budget of 'sparsevlm'"),
        ("mini-llava", {"tokens": 64, "quantization": "4bit"}, "leave quantization out"),
        ("llava-7b", {"tokens": 64, "methods": 1}, "sparsevlm has no option methods"),
        ("llava-7b", {"tokens": 64, "method": "sparse"}, "unknown method 'sparse'"),
    ],
)
def test_what_cannot_be_set_up_is_refused_before_anything_is_read(name, options, match):
    with pytest.raises(ValueError, match=match):
        Answerer(name, device="cpu", **options)


def test_a_miniature_wants_one_picture():
    answerer = Answerer("mini-llava", method="dense", device="cpu")
    with pytest.raises(ValueError, match="takes one image with a question"):
        answerer.answer(["is there a ring ?"], [[]])


def test_visuals_of_a_task(tmp_path):
    (one,) = pictures_of(Image.new("L", (3, 2)))
    assert one.mode == "RGB"
    for number in range(3):
        Image.new("RGB", (3, 2)).save(tmp_path / f"{number}.png")
    assert len(pictures_of(str(tmp_path))) == 8
    with pytest.raises(TypeError, match="a picture or the path of a video, got .*dict"):
        pictures_of({"bytes": b""})


# Settings of a task


def test_generation_is_greedy_unless_a_temperature_is_given():
    pope = {"max_new_tokens": 128, "temperature": 0, "top_p": 1.0, "num_beams": 1, "until": ["\n"]}
    assert generation_of(pope) == {"max_new_tokens": 128, "num_beams": 1}
    warm = {"temperature": 0.2, "top_p": 0.9}
    assert generation_of(warm) == warm | {"max_new_tokens": 1024, "num_beams": 1, "do_sample": True}
    assert "top_p" not in generation_of({"temperature": 0.2, "top_p": None})
    assert "do_sample" not in generation_of({"temperature": 0.2, "do_sample": False})  # MM-Vet's


def test_stop_strings_end_an_answer_but_not_the_one_of_every_task():
    assert cut_at(" yes\n\nIndeed. ASSISTANT: no", ["\n\n", "ASSISTANT:"]) == "yes\n\nIndeed."
    assert cut_at("a b", "b") == "a" and cut_at(" a ", None) == "a" and cut_at("a", [""]) == "a"


@pytest.mark.parametrize("size", ["auto", "0", 1.5, -1])
def test_a_batch_size_is_a_number(size):
    assert size_of("4") == size_of(4) == 4
    with pytest.raises(ValueError, match="must be a positive number"):
        size_of(size)


# Tasks with local data


@pytest.fixture
def tasks(tmp_path):
    """A folder of tasks as lmms-eval has them, one including another."""
    folder = tmp_path / "tasks" / "pope"
    folder.mkdir(parents=True)
    (folder / "pope.yaml").write_text(
        'dataset_path: somebody/POPE\ntask: "pope"\ntest_split: test\n'
        "doc_to_text: !function utils.text\n"
    )
    (folder / "pope_adv.yaml").write_text(
        "include: pope.yaml\ntask: pope_adv\ndataset_name: Full\ntest_split: adversarial \n"
    )
    (folder / "full.yaml").write_text("group: pope_full\ntask:\n  - pope\n  - pope_adv\n")
    return folder.parent


def shard(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return folder / name


def test_a_local_task_is_theirs_with_other_data(tasks, tmp_path):
    file = shard(tmp_path / "POPE" / "Full", "adversarial-00000-of-00001-ab12.parquet")
    shard(tmp_path / "POPE" / "Full", "random-00000-of-00001.parquet")
    path = write_task("pope_adv", tmp_path / "POPE", tmp_path / "out", tasks=tasks, instruction="")
    import yaml

    said = yaml.safe_load(path.read_text())
    assert path.name == "pope_adv_local.yaml" and said["task"] == "pope_adv_local"
    assert said["include"] == str(tasks / "pope" / "pope_adv.yaml")
    assert (said["dataset_path"], said["dataset_name"]) == ("parquet", None)
    assert said["dataset_kwargs"] == {"data_files": {"adversarial": [str(file)]}}
    assert said["lmms_eval_specific_kwargs"]["default"]["post_prompt"] == ""
    assert settings_of(path)["task"] == "pope_adv_local"
    assert settings_of(find_task("pope_adv", tasks))["dataset_path"] == "somebody/POPE"
    plain = write_task("pope_adv", tmp_path / "POPE", tmp_path / "plain", tasks=tasks)
    assert "lmms_eval_specific_kwargs" not in plain.read_text()


def test_what_has_no_local_task(tasks, tmp_path):
    for task, match in [
        ("vqa", "has no task 'vqa'"),
        ("pope_full", "has no task 'pope_full'"),
        ("pope", "no test-.*parquet in .* a copy of somebody/POPE"),
    ]:
        with pytest.raises(DataError, match=match):
            write_task(task, tmp_path / "POPE", tmp_path, tasks=tasks)
    (tasks / "loose.yaml").write_text("task: loose\n")
    with pytest.raises(DataError, match="names no data set and split"):
        write_task("loose", tmp_path / "POPE", tmp_path, tasks=tasks)
    shard(tmp_path / "POPE" / "data", "test-00000-of-00002.parquet")
    with pytest.raises(DataError, match="has 1 files like .*; a whole split has 00002"):
        write_task("pope", tmp_path / "POPE", tmp_path, tasks=tasks)


@pytest.mark.skipif(find_spec("lmms_eval") is not None, reason="lmms-eval is installed")
def test_without_lmms_eval_the_command_says_what_to_install(tmp_path, capsys):
    with pytest.raises(DataError, match="not installed"):
        installed_tasks()
    assert main(["lmms-task", "pope", str(tmp_path)]) == 2
    assert "pip install 'sparsevlm-repro[lmms-eval]'" in capsys.readouterr().err


def test_lmms_eval_finds_the_model_by_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["lmms_eval.models"]["sparsevlm"].partition(":")
    assert callable(getattr(import_module(module), name))
    (pin,) = project["optional-dependencies"]["lmms-eval"]
    assert pin == "lmms-eval==0.7.3"
