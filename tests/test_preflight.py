"""What `check --profile a100` finds, and what it estimates."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import vocabularies
from dataset_hub import write_part
from judge_server import serving
from synthetic import write_synthetic
from tiny import tiny_llava
from tiny_checkpoints import as_fetched, save_tiny

from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.benchmarks.registry import BENCHMARKS
from sparsevlm.cli import app as cli
from sparsevlm.cli import preflight, preflight_estimate, preflight_machine
from sparsevlm.cli.preflight_estimate import (
    Needs,
    Setting,
    estimate,
    gib,
    needs_of,
    seconds_per_answer,
    settings_of,
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


def run(source, *only, **changes):
    profile = replace(get_profile("a100"), **changes)
    with redirect_stdout(StringIO()) as said:
        code = preflight.main(profile, needs_of(profile, only), source)
    return code, said.getvalue().splitlines()


def test_nothing_is_there(tmp_path):
    code, said = run(CheckpointBackend(str(tmp_path), str(tmp_path), None))
    text = "\n".join(said)
    assert code == 1 and said[-1].endswith("thing(s) missing")
    for checkpoint in CHECKPOINTS:
        unused = ("llava-13b", "qwen2.5-vl-7b", "llava-next-7b")  # in no table of the paper
        used = checkpoint.short not in unused
        asked = f"MISSING {checkpoint.name}: not complete -> {checkpoint.name} has not been fetched"
        assert (asked in text) is used
    for name in ("gqa", "mmvet", "tgif", "activitynet"):
        assert f"MISSING data of {name}: not in {tmp_path}" in text
    assert "NOTE    laion/" in text and "NOTE    judge: OPENAI_API_KEY is not set" in text
    assert "Estimates for one A100-80G at batch 1, not measurements" in text
    if not torch.cuda.is_available():
        assert "MISSING gpu: " in text
    for line in said:
        assert "MISSING" not in line or "->" in line  # and always what to do


def test_all_is_there(complete):
    code, said = run(complete, "table_4", device="cpu")
    assert code == 0 and said[-1] == "check: ready to start"
    assert any(line.startswith("OK      llava-hf/llava-1.5-7b-hf: complete in") for line in said)
    assert (
        "OK      prompts of llava-7b: those of gqa, mmbench, mme, pope, scienceqa, seed, textvqa, "
        "mmvet are the official ones, token for token" in said
    )
    assert any(line.startswith("OK      data of pope: complete in") for line in said)
    write_part("pope", Path(complete.data) / "pope")
    code, said = run(complete, "table_4", device="cpu")
    (line,) = [line for line in said if "data of pope" in line]
    assert code == 0 and line.startswith("NOTE") and "(4 questions) -> tables" in line


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
def test_another_tokenizer(checkpoint, complete, tmp_path, damage, said):
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(damage(text), encoding="utf-8")
    folder = as_fetched("llava-7b", other, tmp_path / "kept")
    code, lines = run(replace(complete, checkpoints=str(folder)), "table_4", device="cpu")
    (line,) = [line for line in lines if "prompts of llava-7b" in line]
    assert code == 1 and line.startswith("MISSING") and said in line


def test_a_part_of_a_checkpoint(complete, tmp_path):
    copy = tmp_path / "copy"
    save_tiny("llava", copy)
    folder = as_fetched("llava-7b", copy, tmp_path / "kept")
    (copy / "model.safetensors").write_bytes(b"x")
    code, said = run(replace(complete, checkpoints=str(folder)), "table_4", device="cpu")
    (line,) = [line for line in said if line.startswith("MISSING")]
    assert code == 1 and "model.safetensors has 1 bytes instead of" in line


def missing(said):
    """What is missing, without the machine's own."""
    areas = [line.removeprefix("MISSING ").partition(": ")[0] for line in said if "MISSING" in line]
    machine = ("gpu", "av", "sentencepiece", "protobuf", "disk of ")
    return {area.removeprefix("data of ") for area in areas if not area.startswith(machine)}


TABLE_1 = {"gqa", "mmbench", "mme", "pope", "scienceqa", "seed", "textvqa", "mmvet"}
VIDEOS = {"tgif", "msvd", "msrvtt", "activitynet"}
LLAVA, VIDEO = "llava-hf/llava-1.5-7b-hf", "LanguageBind/Video-LLaVA-7B-hf"


@pytest.mark.parametrize(
    ("only", "model", "lacking", "tables"),
    [
        (["table_1"], "", {LLAVA, *TABLE_1}, ["table_1"]),
        (["figure_8", "table_4"], "", {LLAVA, *TABLE_1}, ["figure_8", "table_4"]),
        (["table_3"], "", {VIDEO, *VIDEOS}, ["table_3"]),
        (["figure_6", "table_3"], "", {LLAVA, VIDEO, *VIDEOS}, ["table_3"]),
        (["figure_6", "explore", "tour"], "", {LLAVA}, []),
        (["figure_6"], "mgm-7b", {"YanweiLi/MGM-7B"}, []),
        (["table_4"], "llava-13b", {"llava-hf/llava-1.5-13b-hf", "gqa", "pope"}, ["table_4"]),
        (["efficiency"], "", set(), []),
    ],
)
def test_only_narrows_everything(tmp_path, monkeypatch, capsys, only, model, lacking, tables):
    monkeypatch.setenv("SPARSEVLM_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("SPARSEVLM_DATA", str(tmp_path))
    assert cli.main(["check", "--profile", "a100", "--only", ",".join(only), "--model", model]) in (
        0, 1
    )  # fmt: skip
    said = capsys.readouterr().out.splitlines()
    assert missing(said) == lacking
    text = "\n".join(said)
    videos = bool(VIDEOS & lacking)
    assert ("reading videos" in text) is videos
    assert ("tokenizer.model" in text) is (model == "mgm-7b")
    assert ("judge: " in text) is bool({"mmvet", "tgif"} & lacking)
    assert ("gpu" in text) is bool(lacking)
    lines = [line.split()[0] for line in said if "GPU hours  " in line]
    assert lines == ([*tables, "total"] if tables else [])
    to_fetch = {find(name).short if "/" in name else name for name in lacking}
    named = [line.partition(" sparsevlm fetch ")[2] for line in said if line.startswith("To get")]
    assert set(" ".join(named).split()) == to_fetch
    for line in said:
        if line.startswith("MISSING") and any(f" {name}: " in line for name in lacking):
            (named,) = re.findall(r"`sparsevlm fetch ([^`]+)`", line)
            assert named in BENCHMARKS or find(named)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "a100", "--only", "table_9"], "unknown notebook 'table_9'; known: "),
        (["--profile", "a100", "--only", "miniature"], "belongs to profile 'mini', not 'a100'"),
        (["--only", "table_1"], "are for a profile that runs a checkpoint"),
        (["--profile", "a100", "--model", "mini-llava"], "mini-llava comes with the repository"),
        (["--profile", "a100", "--model", "llava-8b"], "unknown model 'llava-8b'"),
    ],
)
def test_what_cannot_be_checked(capsys, arguments, message):
    assert cli.main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_folder_of_ones_own(checkpoint, complete, capsys):
    """Its sizes are read from its files; nothing is to be fetched for it."""
    code, said = run(complete, "table_4", model=str(checkpoint), chosen_model=True, device="cpu")
    assert code == 0 and not any("sparsevlm fetch" in line for line in said)
    assert any(line.startswith("  table_4") for line in said)
    assert cli.main(["check", "--profile", "a100", "--model", str(checkpoint.parent)]) == 1
    assert "no config.json in" in capsys.readouterr().err


def test_what_is_on_one_disk_is_added_up(tmp_path, monkeypatch):
    found = SimpleNamespace(free=10e9)
    monkeypatch.setattr(preflight_machine.shutil, "disk_usage", lambda _: found)
    parts = ("checkpoints", tmp_path / "not" / "yet", 6e9), ("data", tmp_path, 3e9)
    (fits,) = preflight_machine.disk(*parts)
    assert (
        fits.state == "ok" and "10 GB free, about 9 needed (checkpoints 6.0, data 3.0)" in fits.what
    )
    (small,) = preflight_machine.disk(*parts, ("results", tmp_path, 2e9), ("nothing", tmp_path, 0))
    assert small.state == "missing" and "about 11 needed" in small.what and small.todo
    assert "nothing" not in small.what


def test_the_disk_counts_what_is_to_be_fetched(complete, tmp_path):
    """The missing checkpoint, and missing data twice: archives and tables, and what is in them."""
    whole = [line for line in run(complete, "table_4")[1] if " disk of " in line]
    assert all("checkpoints" not in line and "data" not in line for line in whole)
    shutil.rmtree(tmp_path / "data" / "pope")
    (line,) = [line for line in run(complete, "table_4")[1] if " disk of " in line]
    size = 2 * sum(part.about_bytes for part in datasets()["pope"].repositories)
    assert f"(data with what is unpacked {size / 1e9:.1f}, results 0.4)" in line
    (line,) = [
        line for line in run(replace(complete, checkpoints=str(tmp_path)), "table_4")[1]
        if " disk of " in line
    ]  # fmt: skip
    assert "(checkpoints 14.1, data" in line


def test_old_packages(monkeypatch):
    monkeypatch.setitem(preflight_machine.LEAST, "torch", "99.0")
    monkeypatch.setitem(preflight_machine.LEAST, "no-such-package", "1.2")
    found = {f.area: f for f in preflight_machine.software(Needs({}, {}), None)}
    assert found["torch"].state == "missing" and found["torch"].todo == "install 99.0 or later"
    assert found["no-such-package"].what == "not there"
    assert found["transformers"].state == "ok"


def test_packages_for_four_bits():
    areas = {f.area for f in preflight_machine.software(Needs({}, {}), "4bit")}
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


def test_a_run_that_several_notebooks_share_is_paid_for_once(tmp_path):
    profile = get_profile("a100")
    needs = needs_of(profile, ["table_1", "controls"])
    one, two = (estimate(settings, needs.models) for settings in needs.notebooks.values())
    both = estimate(needs.settings, needs.models)
    assert both.runs == len(needs.settings) < one.runs + two.runs
    assert max(one.hours, two.hours) < both.hours < one.hours + two.hours
    # and figure_8 is drawn from the runs of table_1
    shared = needs_of(profile, ["table_1", "figure_8"])
    assert estimate(shared.settings, shared.models) == one
    said = run(CheckpointBackend(str(tmp_path), str(tmp_path), None), "table_1", "controls")[1]
    assert f"In total {both.hours:.1f} GPU hours are paid for" in "\n".join(said)


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
    needs = needs_of(get_profile("a100"))
    total = estimate(needs.settings, needs.models)
    rows = {name: cells for name, *cells in rows_of("| table | answers")}
    assert set(rows) == {name for name, settings in needs.notebooks.items() if settings} - {
        "study", "figure_8"
    } | {"total"}  # fmt: skip
    for name, (answers, hours, memory) in rows.items():
        found = total if name == "total" else estimate(needs.notebooks[name], needs.models)
        assert int(answers.replace(",", "")) == pytest.approx(found.answers, rel=0.01)
        assert int(hours.removeprefix("about ")) == pytest.approx(found.hours, abs=1)
        assert int(memory) == pytest.approx(max(found.gib, needs.gib() * (name == "total")), abs=1)
