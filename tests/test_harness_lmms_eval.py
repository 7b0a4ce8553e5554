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
