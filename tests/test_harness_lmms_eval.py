"""lmms-eval's own POPE task, asking and scoring the bundled miniature through our model class.

Needs the extra: ``pip install 'sparsevlm-repro[lmms-eval]'`` in an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from synthetic_parquet import write_synthetic_parquet

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.benchmarks.loaders import load
from sparsevlm.miniature.scenes import make_scene

if not find_spec("lmms_eval"):
    needs = "needs lmms-eval: pip install 'sparsevlm-repro[lmms-eval]'"
    pytest.skip(needs, allow_module_level=True)

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled"}
SAMPLES, TOKENS = 12, 64


def lmms_eval(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval", "--device", "cpu", *arguments],
        capture_output=True, text=True, cwd=folder,
        env={**os.environ, **OFFLINE, "HF_HOME": str(folder / "hf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def local_task(copy: Path, folder: Path) -> Path:
    """The file of docs/lmms_eval.md; without the instruction, whose words the miniature lacks."""
    import lmms_eval

    asked = {"default": {"pre_prompt": "", "post_prompt": ""}}
    task = {
        "include": f"{lmms_eval.__path__[0]}/tasks/pope/pope.yaml", "task": "pope_local",
        "dataset_path": "parquet", "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": f"{copy}/data/test-*.parquet"}},
        "lmms_eval_specific_kwargs": asked,
    }  # fmt: skip
    folder.mkdir()
    path = folder / "pope_local.yaml"
    path.write_text(json.dumps(task))  # which is YAML too
    return path


PAIRS = """
import io
from PIL import Image

def pictures(doc):
    return [Image.open(io.BytesIO(doc[name])) for name in ("one", "two")]
"""


def pairs_task(folder: Path) -> Path:
    """A task that shows two pictures: in front of the question, or where it has places for them."""
    import pandas as pd

    folder.mkdir()
    rows = []
    for number in range(4):
        found = []
        for seed in (number, number + 10):
            make_scene(seed).image.save(folder / "scene.png")
            found.append((folder / "scene.png").read_bytes())
        asked = "is <image> or <image> red ?" if number % 2 else "what shape is the red thing ?"
        rows.append({"one": found[0], "two": found[1], "question": asked, "answer": "yes"})
    pd.DataFrame(rows).to_parquet(folder / "test.parquet")
    (folder / "utils.py").write_text(PAIRS)
    path = folder / "pairs_local.yaml"
    path.write_text(
        f"""
task: pairs_local
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {folder}/test.parquet}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 6}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
    )
    return path


def test_a_task_with_two_pictures_is_answered_as_the_suite_answers_it(tmp_path):
    from sparsevlm.integrations.answering import Answerer
    from sparsevlm.models.template import Images

    task = pairs_task(tmp_path / "tasks")
    said = lmms_eval(
        tmp_path, "--model", "sparsevlm", "--model_args",
        f"pretrained=mini-llava,method=sparsevlm,tokens={TOKENS}", "--batch_size", "2",
        "--tasks", task.stem, "--include_path", str(task.parent),
        "--output_path", str(tmp_path / "out"), "--log_samples",
    )  # fmt: skip
    (lines,) = tmp_path.glob("out/**/*_samples_pairs_local.jsonl")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    answers = {row["doc_id"]: row["filtered_resps"] for row in rows}
    answerer = Answerer("mini-llava", tokens=TOKENS, device="cpu")
    for number in range(4):
        asked = "is <image> or <image> red ?" if number % 2 else "what shape is the red thing ?"
        shown = Images([make_scene(number).image, make_scene(number + 10).image])
        (want,) = answerer.answer([asked], [shown], max_new_tokens=6)
        assert answers[number] in (want, [want])
    assert "SparseVLM: 128.00 of 1152.00 visual tokens left" in said


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What lmms-eval printed, its numbers, its answers by question, and our samples."""
    folder = tmp_path_factory.mktemp("lmms")
    official = folder / "pope"
    copy = write_synthetic_parquet("pope", official, folder / "POPE", n=SAMPLES)
    task = local_task(copy, folder / "tasks")
    said = lmms_eval(
        folder, "--model", "sparsevlm",
        "--model_args", f"pretrained=mini-llava,method=sparsevlm,tokens={TOKENS}",
        "--tasks", task.stem, "--include_path", str(task.parent),
        "--output_path", str(folder / "out"), "--log_samples",
    )  # fmt: skip
    (numbers,) = folder.glob("out/**/*_results.json")
    (lines,) = folder.glob("out/**/*_samples_pope_local.jsonl")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    answers = {row["pope_accuracy"]["question_id"]: row["filtered_resps"] for row in rows}
    results = json.loads(numbers.read_text())["results"]["pope_local"]
    return said, results, answers, load("pope", official, complete=False), official


def test_lmms_eval_gets_the_answers_that_the_suite_gets(run):
    from sparsevlm.integrations.answering import Answerer
    from sparsevlm.models.images import load_image

    said, results, answers, samples, official = run
    answerer = Answerer("mini-llava", tokens=TOKENS, device="cpu")
    rows = []
    for sample in samples:
        question, picture = sample.question.split("\n")[0], load_image(official / sample.media)
        (text,) = answerer.answer([question], [[picture]], max_new_tokens=128)
        rows.append({**sample.to_json(), "prediction": text})
    assert answers == {row["id"]: row["prediction"] for row in rows}
    # Theirs pools the three splits; ours has the accuracy of each, and all are of one size.
    parts = get_benchmark("pope").score(rows)["parts"].values()
    accuracy = sum(part["accuracy"] for part in parts) / 3
    assert results["pope_accuracy,none"] == pytest.approx(accuracy / 100)


def test_the_log_says_what_pruning_left(run):
    assert "SparseVLM: 64.00 of 576.00 visual tokens left" in run[0]
