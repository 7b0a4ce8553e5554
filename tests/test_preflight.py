"""What `check --profile a100` finds, and what it estimates."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
import vocabularies
from judge_server import serving
from synthetic import write_synthetic
from tiny import tiny_llava
from tiny_checkpoints import as_fetched, save_tiny

from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.cli import preflight, preflight_estimate
from sparsevlm.cli.preflight_estimate import (
    Setting,
    estimate,
    gib,
    seconds_per_answer,
    settings_of,
    studies_of,
)
from sparsevlm.evaluation.backends import CheckpointBackend
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.studies import get_study
from sparsevlm.models.checkpoints import CHECKPOINTS, find

SEVEN = find("llava-7b")


@pytest.fixture(autouse=True)
def no_judge(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def table_4_of_llava(monkeypatch):
    monkeypatch.setattr(preflight_estimate, "studies", lambda: {"table_4": get_study("table_4")})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_llava(vocabulary=32064, image_token=32000).save_pretrained(folder)
    vocabularies.write_llava(folder)
    return folder


@pytest.fixture
def complete(checkpoint, tmp_path):
    """Everything that Table 4 needs, in tiny."""
    data = tmp_path / "data"
    for name in get_study("table_4").benchmarks:
        write_synthetic(name, data / layout_of(name).folder, n=4)
    folder = as_fetched("llava-7b", checkpoint, tmp_path / "fetched")
    return CheckpointBackend(str(data), str(folder), None, complete=False)


def run(source, profile="a100", **changes):
    said = []
    code = preflight.main(replace(get_profile(profile), **changes), source, said.append)
    return code, said


def test_nothing_is_there(tmp_path):
    code, said = run(CheckpointBackend(str(tmp_path), str(tmp_path), None))
    text = "\n".join(said)
    assert code == 1 and said[-1].endswith("thing(s) missing")
    for checkpoint in CHECKPOINTS:
        used = checkpoint.short != "llava-13b"  # in no table of the paper
        asked = f"MISSING {checkpoint.name}: not complete -> {checkpoint.name} has not been fetched"
        assert (asked in text) is used
    for name in ("gqa", "mmvet", "tgif", "activitynet"):
        assert f"MISSING data of {name}: not complete -> {name}: there is no folder" in text
    assert "NOTE    laion/" in text and "NOTE    judge: OPENAI_API_KEY is not set" in text
    assert "Estimates for one A100-80G at batch 1, not measurements" in text
    if not torch.cuda.is_available():
        assert "MISSING gpu: " in text
    for line in said:
        assert "MISSING" not in line or "->" in line  # and always what to do


def test_all_is_there(complete, monkeypatch):
    table_4_of_llava(monkeypatch)
    code, said = run(complete, device="cpu")
    assert code == 0 and said[-1] == "check: ready to start"
    assert any(line.startswith("OK      llava-hf/llava-1.5-7b-hf: complete in") for line in said)
    assert (
        "OK      prompts of llava-7b: those of gqa, mmbench, mme, pope, scienceqa, seed, textvqa, "
        "mmvet are the official ones, token for token" in said
    )
    assert any(line.startswith("OK      data of pope: complete in") for line in said)


def swapped(text):
    """A tokenizer.json in which two words have each other's ids."""
    content = json.loads(text)
    ids = content["model"]["vocab"]
    ids["\u2581Which"], ids["\u2581Who"] = ids["\u2581Who"], ids["\u2581Which"]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            swapped,
            "directly.\" is 11644 ('\u2581Which'), officially 8449 ('\u2581Who') -> `sparsevlm",
        ),
        (lambda text: text[:90_000], "cannot be made -> the tokenizer in "),
    ],
)
def test_another_tokenizer(checkpoint, complete, tmp_path, monkeypatch, damage, said):
    table_4_of_llava(monkeypatch)
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(damage(text), encoding="utf-8")
    folder = as_fetched("llava-7b", other, tmp_path / "kept")
    code, lines = run(replace(complete, checkpoints=str(folder)), device="cpu")
    (line,) = [line for line in lines if "prompts of llava-7b" in line]
    assert code == 1 and line.startswith("MISSING") and said in line


def test_a_part_of_a_checkpoint(checkpoint, complete, tmp_path, monkeypatch):
    table_4_of_llava(monkeypatch)
    copy = tmp_path / "copy"
    save_tiny("llava", copy)
    folder = as_fetched("llava-7b", copy, tmp_path / "kept")
    (copy / "model.safetensors").write_bytes(b"x")
    code, said = run(replace(complete, checkpoints=str(folder)), device="cpu")
    (line,) = [line for line in said if line.startswith("MISSING")]
    assert code == 1 and "model.safetensors has 1 bytes instead of" in line


def test_a_small_disk(complete, monkeypatch):
    big = replace(SEVEN.repositories[0], about_bytes=10**18)
    models = {SEVEN.name: replace(SEVEN, repositories=(big,))}
    empty = replace(complete, checkpoints=complete.data)
    found = list(preflight.disk(estimate([], models), models, empty))
    assert found[0].state == "missing" and "about 1000000000 needed" in found[0].what
    assert found[1].state == "ok"


def test_old_packages(monkeypatch, complete):
    monkeypatch.setitem(preflight.LEAST, "torch", "99.0")
    monkeypatch.setitem(preflight.LEAST, "no-such-package", "1.2")
    found = {f.area: f for f in preflight.software({}, complete)}
    assert found["torch"].state == "missing" and found["torch"].todo == "install 99.0 or later"
    assert found["no-such-package"].what == "not there"
    assert found["transformers"].state == "ok"


def test_packages_for_four_bits(complete):
    areas = {f.area for f in preflight.software({}, replace(complete, quantization="4bit"))}
    assert {"accelerate", "bitsandbytes"} <= areas


def test_a_judge_that_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://127.0.0.1/v1")
    found = preflight.judge()
    assert found.state == "note" and "https://127.0.0.1/v1 cannot be reached" in found.what
    assert "secret" not in str(found)


def test_a_judge_on_this_machine_needs_no_key(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        assert str(preflight.judge()) == (
            f"OK      judge: {server.address} answers and it needs no key"
        )
    assert preflight.judge().state == "note"  # it is gone


# --- Estimates ------------------------------------------------------------------------------------


def test_the_prefill_is_that_of_table_1():
    """At the 4.62 T multiply-adds of the paper's dense row, 57.82 ms; that is about 690 tokens."""
    rest = preflight_estimate.SECONDS_PER_SAMPLE + 3 * 32 * 0.0009
    dense = Setting(SEVEN.name, "mme", "dense", None, 1)
    seconds = seconds_per_answer(dense, SEVEN) - rest
    # 636 tokens: 32 (4 n d^2 + 2 n^2 d + 3 n d m) = 4.227e12, and CLIP's 0.4e12 operations
    assert seconds == pytest.approx((2 * 4.227e12 + 0.4e12) / (2 * 4.62e12) * 0.05782, rel=1e-3)


def test_fewer_tokens_take_less_time():
    times = [
        seconds_per_answer(Setting(SEVEN.name, "pope", "sparsevlm", tokens, 1), SEVEN)
        for tokens in (64, 192, None)
    ]
    assert times == sorted(times)


def test_memory():
    setting = Setting(SEVEN.name, "pope", "dense", None, 1)
    whole, small = gib(setting, SEVEN), gib(setting, SEVEN, "4bit")
    assert whole == pytest.approx(2 * 7.063e9 / 2**30 + 0.38 + 2, abs=0.05)
    assert 5 < small < 7
    thirteen = find("llava-13b")
    assert 26 < gib(setting, thirteen) < 28


def test_a_cell_of_two_studies_counts_once():
    studies = studies_of(get_profile("a100"))
    models = {c.name: c for c in CHECKPOINTS}
    one, two = studies["table_1"], studies["controls"]
    both = estimate([*one, *two], models)
    assert both.runs == len({*one, *two}) < len(one) + len(two)
    assert both.hours < estimate(one, models).hours + estimate(two, models).hours


def test_the_number_of_answers():
    profile = get_profile("a100").for_study("table_4")
    settings = settings_of(profile)
    ways = 1 + len(profile.methods) * len(profile.budgets)
    assert len(settings) == 2 * ways
    models = {c.name: c for c in CHECKPOINTS}
    assert estimate(settings, models).answers == ways * (12578 + 8910)
    few = settings_of(get_profile("a100-100").for_study("table_4"))
    assert estimate(few, models).answers == 2 * ways * 100
    videos = settings_of(get_profile("a100").for_study("table_3"))
    assert {s.samples for s in videos} == {1000}


# --- docs/a100.md ---------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "a100.md").read_text(encoding="utf-8")


def rows_of(first: str) -> list[list[str]]:
    """Rows of the table whose heading starts like this, without it."""
    (block,) = [b for b in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE) if b.startswith(first)]
    lines = block.splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_names_the_checkpoints_of_the_table():
    shown = {row[1]: row for row in rows_of("| name | repository")}
    repositories = [r for c in CHECKPOINTS for r in c.repositories]
    assert list(shown) == [r.id for r in repositories]
    for repository in repositories:
        _, _, revision, size, _, licence = shown[repository.id]
        pinned = repository.revision[:12] if repository.pinned else "pinned by the first fetch"
        assert revision == pinned and licence == repository.licence
        assert float(size) == round(repository.about_bytes / 1e9, 1)


def test_the_page_has_the_estimates_of_the_check():
    models = {c.name: c for c in CHECKPOINTS}
    studies = studies_of(get_profile("a100"))
    for name, answers, hours, memory in rows_of("| table | answers"):
        found = estimate(studies[name], models)
        assert int(answers.replace(",", "")) == pytest.approx(found.answers, rel=0.01)
        assert int(hours.removeprefix("about ")) == pytest.approx(found.hours, abs=1)
        assert int(memory) == pytest.approx(found.gib, abs=1)
