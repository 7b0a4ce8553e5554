"""docs/algorithm.md and DEVIATIONS.md: their numbers are recomputed, what they name exists."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache

import pytest
import torch
from golden_data import cases
from test_gravity import rotary

import sparsevlm as sv
from sparsevlm.analysis import published
from sparsevlm.core.budget import OFFICIAL_NUM_VISUAL
from sparsevlm.core.schedule import (
    mean_tokens_in,
    mean_tokens_out,
    recycled_counts,
    tokens_per_layer,
)
from sparsevlm.core.scoring import gravity
from sparsevlm.core.sparsity import num_kept
from sparsevlm.core.variants import V10_SETTINGS
from sparsevlm.evaluation.paths import ROOT

ALGORITHM = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
DEVIATIONS = (ROOT / "DEVIATIONS.md").read_text(encoding="utf-8")
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("docs/algorithm.md", "docs/architecture.md", "DEVIATIONS.md",
                 "tests/golden/README.md")
}  # fmt: skip
BLOCKS = re.findall(r"```python\n(.*?)```", ALGORITHM, re.DOTALL)


def tables(text: str) -> Iterator[list[list[str]]]:
    """Every table as rows of cells, the header first."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")]
                for line in block.splitlines()]  # fmt: skip
        yield [[cell.strip("| ") for cell in row] for row in (rows[0], *rows[2:])]


def table(first: str) -> list[list[str]]:
    """The table of docs/algorithm.md whose first heading starts with these words, without it."""
    (found,) = [rows for rows in tables(ALGORITHM) if rows[0][0].startswith(first)]
    assert len({len(row) for row in found}) == 1
    return found[1:]


def numbers(values, digits: int = 1) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def llava(name: str, tokens: int | None, num_visual: int = OFFICIAL_NUM_VISUAL, **options: object):
    return sv.make_pruner(name, tokens=tokens, num_layers=32, num_visual=num_visual, **options)


# --- Numbers ------------------------------------------------------------------------------------


def test_the_overview_is_what_the_variants_are_made_of():
    (rows,) = [rows for rows in tables(ALGORITHM) if rows[0][1:] == ["paper", *_variants()[1:]]]
    cells = {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in rows[1:]}
    names = cells["name in `make_pruner"]
    for column, (variant, name) in enumerate(zip(_variants(), names, strict=True)):
        pruner = llava(name, None if variant == "video" else 192)
        assert pruner.variant == variant
        assert sv.METHODS[name].meets_budget == cells["meets a budget"][column].startswith("yes")
        layers = ", ".join(str(stage.layer) for stage in pruner.stages)
        assert cells["stages after layers (of 32)"][column] == layers
        options = [option for option in cells if hasattr(pruner, option)]
        assert len(options) == 8
        for option in options:
            shown = cells[option][column]
            assert shown == str(getattr(pruner, option)) or (shown == "–" and not pruner.recycle)


def _variants() -> list[str]:
    return [row[0].strip("`") for row in table("variant")]


def test_counts_of_the_lists():
    rows = table("list")
    assert len(rows) == 8
    for label, *shown in rows:
        variant, tokens = label.split(", ")
        pruner = llava("sparsevlm" if variant == "v1.5" else "sparsevlm-plus", int(tokens))
        how = {"recycle": pruner.recycle, "always_drop": pruner.always_drop}
        left = tokens_per_layer(pruner.stages, 32, 576, **how)[1]
        assert shown == [
            ", ".join(str(stage.keep) for stage in pruner.stages),
            ", ".join(str(left[stage.layer]) for stage in pruner.stages),
            f"{mean_tokens_out(pruner.stages, 32, 576, **how):.3f}",
            f"{mean_tokens_in(pruner.stages, 32, 576, **how):.3f}",
            f"{mean_tokens_out(pruner.stages, 40, 576, **how):.1f}",
        ], label


def by_rank(pruner: sv.SparseVLM, raters: int, num_visual: int) -> tuple[list[int], str, float]:
    """Tokens left after each stage, both means in words, and tokens_out, at one rater per rank."""
    current, left, entering, leaving = num_visual, [], [], []
    for layer in range(32):
        entering.append(current)
        if pruner.prunes_after(layer):
            kept = num_kept(current, min(raters, current), pruner.scale, pruner.bias)
            current = kept + recycled_counts(current - kept, pruner.recycle)[1]
            left.append(current)
        leaving.append(current)
    out, entered = sum(leaving) / 32, sum(entering) / 32
    return left, f"{out:.1f} / {entered:.1f}", out


def test_counts_by_rank():
    image, video = [rows for rows in tables(ALGORITHM) if rows[0][0] == "rank"]
    assert len(image) == 8 and len(video) == 4
    for heading, (tokens, setting) in zip(image[0][1:], V10_SETTINGS.items(), strict=True):
        assert heading == 'v1.0, "{}" ({:g}, {:g})'.format(tokens, *setting)
    for rank, *shown in image[1:]:
        for cell, tokens in zip(shown, V10_SETTINGS, strict=True):
            left, means, _ = by_rank(llava("sparsevlm-v1.0", tokens), int(rank), 576)
            assert cell == f"{', '.join(map(str, left))}: {means}"
    for rank, left, *means in video[1:]:
        for cell, tokens in zip(means, (135, 194), strict=True):
            pruner = llava("sparsevlm-video", tokens, 2048)
            assert by_rank(pruner, int(rank), 2048)[:2] == ([int(left)], cell)


def test_counts_of_the_baselines():
    for name, *shown in table("method"):
        pruners = [llava(name.strip("`"), tokens) for tokens in (192, 128, 64)]
        stages = [", ".join(f"{stage.layer}: {stage.keep}" for stage in p.stages) for p in pruners]
        how = {"recycle": 0, "counted_layer": pruners[0].counted_layer}
        out = numbers(mean_tokens_out(p.stages, 32, 576, **how) for p in pruners)
        entering = numbers(mean_tokens_in(p.stages, 32, 576, **how) for p in pruners)
        assert shown == [*stages, out, entering]


def test_gravity_by_distance():
    for head_dim, *shown, first in table("head_dim"):
        tables = rotary(torch.arange(2000), int(head_dim))
        weight = gravity(tuple(part[:1] for part in tables), tables)[0]
        assert shown == [f"{weight[distance]:.2f}" for distance in (0, 50, 100, 300)]
        assert int(first) == int((weight <= 0).nonzero()[0])


def test_constants_in_the_text():
    settings = ["({:g}, {:g})".format(*pair) for pair in V10_SETTINGS.values()]
    assert "{}, {} and {}".format(*settings) in ALGORITHM
    nearest = [
        min(range(1, 60), key=lambda raters: abs(by_rank(pruner, raters, 576)[2] - tokens))
        for tokens, pruner in ((t, llava("sparsevlm-v1.0", t)) for t in V10_SETTINGS)
    ]
    assert '"192" needs {} raters, "128" {} and "64" {}:'.format(*nearest) in ALGORITHM
    assert recycled_counts(576)[1] == 18, "left where nothing is kept"
    left = [by_rank(llava("sparsevlm-v1.0", 192), raters, 576)[0] for raters in (42, 43)]
    assert left[0][0] < left[1][0] == 576, "43 raters save nothing"


def test_the_rank_is_the_number_of_raters_in_every_recorded_run():
    ranks = 0
    for name in ("model_v10_s13.5_b0", "model_v10_s9_b6", "model_v10_s0.8_b0", "model_video"):
        for case in cases(name).values():
            expected = [min(case["n_raters"], current) for current in case["v_in"]]
            assert case["rank"] == expected
            ranks += len(expected)
    assert ranks == 78


def test_the_papers_cells_are_those_of_the_file():
    columns = ("GQA", "TextVQA", "POPE", "MME")
    rows = {row[0]: row[1:-1] for row in table("row")}
    for method in ("FastV", "PDrop", "SparseVLM"):
        paper = [published.value("table1", method, 192, column) for column in columns]
        assert [float(cell) for cell in rows[f"{method}, paper"]] == paper
    pairs = zip(rows["FastV, paper"], rows["FastV, third party"], strict=True)
    gain = [float(other) - float(paper) for paper, other in pairs]
    assert "{:.1f} points on GQA, {:.1f} on TextVQA and {:.1f} on POPE".format(*gain) in ALGORITHM
    assert f"GQA {published.value('table1', 'PDrop', 64, 'GQA')}, against 47.5" in ALGORITHM


def test_the_papers_baselines_repeat_its_first_version():
    same = {"ToMe": 0, "FastV": 0}
    first = published.rows("table1", version="v1")
    old = {(row.method, row.visual_tokens, row.measure): row.value for row in first}
    for new in published.rows("table1"):
        before = old.get((new.method, new.visual_tokens, new.measure))
        if new.method in same and before and new.measure != "relative_accuracy_percent":
            limit = 0 if new.method == "ToMe" else 0.01 * before
            same[new.method] += abs(new.value - before) <= limit
    assert same == {"ToMe": 18, "FastV": 12}
    assert "all 18 scores" in ALGORITHM and "12 of FastV's 18 are within 1 %" in ALGORITHM


# --- Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_code_in_the_documentation_runs(block, capsys):
    torch.manual_seed(0)
    namespace: dict = {}
    exec(compile(block, "docs/algorithm.md", "exec"), namespace)
    if "vectors" in namespace:
        assert len(namespace["vectors"]) == namespace["groups"] > 1
        assert namespace["rank"] == len(namespace["raters"])
        assert namespace["raters"].min() >= namespace["block"].stop, "words come after the image"
    else:
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == len(namespace["ablations"]) == 7
        left = [float(re.search(r"([\d.]+) left", line)[1]) for line in printed]
        assert all(abs(tokens - 128) <= 1 for tokens in left)


def test_every_block_of_code_is_found():
    assert len(BLOCKS) == ALGORITHM.count("```python") == 2


@cache
def _functions(name: str) -> set[str]:
    """Test functions of a file, wherever it is below tests/."""
    (path,) = (ROOT / "tests").rglob(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page):
    for line in PAGES[page].splitlines():
        file = None
        for named, function in re.findall(r"`(?:tests/)?(test_\w+\.py)?(?:::(test_\w+))?`", line):
            if not named and not function:
                continue
            file = named or file
            assert file, f"{function} has no file before it: {line}"
            assert not function or function in _functions(file), f"{file}::{function}"


def test_every_deviation_names_its_test():
    rows = [row for rows in tables(DEVIATIONS) for row in rows[1:]]
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 5 and "test_" in row[-1], row


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for label, target in re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path = ((ROOT / page).parent / target).resolve()
        assert path.exists(), target
        if path.suffix == ".py":
            *package, module = path.relative_to(ROOT).with_suffix("").parts
            label = label.strip("`")
            if label == path.name:
                continue  # a link to a whole file
            shown, name = label.split(".")
            assert shown == module, f"{label} leads to {target}"
            found = importlib.import_module(".".join([*package, module]))
            assert hasattr(found, name), label


def test_the_readme_of_the_recordings_lists_every_file():
    text = PAGES["tests/golden/README.md"]
    folder = ROOT / "tests" / "golden"
    patterns = re.findall(
        r"`((?:newer/\w|model|functions|baseline|inputs|weights|prompt)[\w.]*\*?)`", text
    )
    stems = {path.relative_to(folder).as_posix().removesuffix(".json").removesuffix(".safetensors")
             for path in (*folder.iterdir(), *(folder / "newer").iterdir())
             } - {"README.md", "newer"}  # fmt: skip
    listed = {pattern: {stem for stem in stems if fnmatch(stem, pattern)} for pattern in patterns}
    assert all(listed.values()), "every name is that of a file"
    assert set().union(*listed.values()) == stems
