"""Every figure at print size, in one and two columns: no text is small, overlaps or is cut off."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import combinations

import matplotlib
import pytest
from fabricated import SHAPE, fabricate, narrowed
from test_tour import walk

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from matplotlib.transforms import Bbox  # noqa: E402

from sparsevlm.analysis import study, style  # noqa: E402
from sparsevlm.cli.app import main  # noqa: E402
from sparsevlm.evaluation.loaded import load_model  # noqa: E402
from sparsevlm.evaluation.profiles import get_profile  # noqa: E402
from sparsevlm.explorer import explore  # noqa: E402
from sparsevlm.explorer.color_map import MODES, ColorChoice  # noqa: E402
from sparsevlm.explorer.lesson import STEPS  # noqa: E402
from sparsevlm.paper.extras import (  # noqa: E402
    attention_drawing,
    attention_maps,
    efficiency,
    efficiency_drawing,
    miniature_validity,
    significance,
    tour,
)  # fmt: skip
from sparsevlm.paper.figures import figure_7_drawing  # noqa: E402

SKILL = {
    "dense": 1.0, "sparsevlm-all-text": 0.97, "fastv": 0.45, "pdrop": 0.7, "random": 0.85,
    "pooled": 0.7, "sparsevlm-all-tokens": 0.1, "sparsevlm-v1.0": 0.8, "sparsevlm-video": 0.75,
}  # fmt: skip
STUDIES = {
    "table_1": "table_1", "table_1_v1": "table_1_v1", "table_2": "table_2", "table_3": "table_3",
    "table_4": "table_4", "figure_4": "figure_4", "figure_5": "figure_5", "figure_8": "table_1",
    "figure_9": "figure_4", "figure_10": "table_3", "variants": "variants",
    "controls": "controls", "any_study": "controls",
}  # fmt: skip
COMPUTED = ("figure_1", "figure_2", "figure_3", "figure_6", "figure_7", "figure_11")
OTHERS = {
    "efficiency": lambda: efficiency_drawing.draw(efficiency.load()),
    "miniature_attention": lambda: miniature_validity.draw_attention(evidence()),
    "miniature_price": lambda: miniature_validity.draw_price(evidence()),
    "miniature_separation": lambda: significance.draw(significance.frame(significance.read())),
    "attention_maps_stages": lambda: attention_drawing.draw_stages(maps().stages),
    "attention_maps_layers": lambda: attention_drawing.draw_layers(maps()),
}
TOUR = ("question", "rating", "choice", "groups", "sequence", "answers", "conversation")
EXPLORED = ("status", "lost", "score", "attention", "methods", "caution")


def home(name):
    parts = {"t": "tables", "f": "figures"}
    part = parts.get(name[0]) if name[1:5] in ("able", "igur") else "extras"
    return import_module(f"sparsevlm.paper.{part}.{name}")


@cache
def results(study_name, module="", mute=""):
    """Records in which FastV is always wrong on two benchmarks, as it is with mini-gemini."""
    profile = narrowed(study_name, 8)

    def skill(setting, benchmark, number):
        method, tokens = setting
        if benchmark == mute or (study_name, method, benchmark) == ("figure_4", "fastv", "textvqa"):
            return 0.0
        return SKILL.get(method, 0.9) - (30 / tokens if tokens else 0)

    visual = 2056 if profile.model == "mini-video-llava" else 576
    left = {("sparsevlm-v1.0", budget): budget / 8 for budget in profile.budgets}
    records = fabricate(profile, skill, left, 8, lambda number: visual)
    paper = getattr(home(module), "PAPER", None) if module else None
    return study.from_records(profile, records, SHAPE, paper=paper)


@cache
def evidence():
    read = miniature_validity.Evidence.read
    return [
        read(name, (0, 1, 3), results(study_name))
        for name, study_name in miniature_validity.STUDY_OF.items()
    ]


@cache
def computed(name):
    return home(name).measure(get_profile("mini").limited(4))


@cache
def maps():
    return attention_maps.measure(get_profile("mini").limited(4))


@cache
def toured():
    return walk(tour.measure("mini"), load_model(get_profile("mini")))[1]


@cache
def explored():
    return explore()


def figure_of(name):
    kind, _, part = name.partition(" ")
    if kind == "tour":
        return toured()[part]()
    if kind == "explore":
        explored().choice = ColorChoice(part if part in MODES else "status")
        explored().change(
            question="what is the zebra ?" if part == "caution" else STEPS[0].question
        )
        return explored().comparison() if part == "methods" else explored().figure()
    if name in OTHERS:
        return OTHERS[name]()
    if name in STUDIES:
        module, found = home(name), results(STUDIES[name], name)
        return module.figure(found) if name == "any_study" else module.REPORT.figure(found)
    draw = figure_7_drawing.draw if name == "figure_7" else home(name).draw
    return draw(computed(name))


@pytest.fixture(autouse=True)
def _style():
    before = dict(vars(style.OUTPUT))
    with matplotlib.rc_context():
        yield
    vars(style.OUTPUT).update(before)
    plt.close("all")


def drawn_texts(figure, folder, monkeypatch):
    """Return (text, size, box in points) of every text that a figure draws when it is saved."""
    seen = {}
    draw = Text.draw

    def noted(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            box = self.get_window_extent(renderer)
            inches = Bbox(box.get_points() / self.figure.dpi * 72)
            seen[id(self)] = (self.get_text(), self.get_size(), inches)
        return draw(self, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", noted)
    style.OUTPUT.formats = ()
    style.save_figure(figure, "probe", "mini", folder=folder)
    figure.canvas.draw()
    return list(seen.values())


@pytest.mark.parametrize("width", style.COLUMN_INCHES.values())
@pytest.mark.parametrize(
    "name",
    [
        *STUDIES, *COMPUTED, *OTHERS, *(f"tour {part}" for part in TOUR),
        *(f"explore {part}" for part in EXPLORED),
    ],
)  # fmt: skip
def test_texts_are_large_apart_and_whole_and_panels_in_order(name, width, tmp_path, monkeypatch):
    style.OUTPUT.width = width
    figure = figure_of(name)
    texts = drawn_texts(figure, tmp_path, monkeypatch)
    assert figure.get_figwidth() == pytest.approx(width) and len(texts) > 4
    small = [(text, size) for text, size, _ in texts if size < style.SMALLEST]
    page = figure.get_figwidth() * 72, figure.get_figheight() * 72
    cut = [
        text for text, _, box in texts
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > page[0] + 0.5 or box.y1 > page[1] + 0.5
    ]  # fmt: skip
    over = [
        (first[0], second[0]) for first, second in combinations(texts, 2)
        if first[2].padded(-0.6).overlaps(second[2].padded(-0.6))
    ]  # fmt: skip
    assert not small and not cut and not over
    # Panels of an SVG or a PDF are read in the order in which they were made.
    corners = [axes.get_position() for axes in figure.axes if axes.get_title()]
    rows = [round(-box.y1 * figure.get_figheight(), 1) for box in corners]
    places = list(zip(rows, (box.x0 for box in corners), strict=True))
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["table_1", "table_3", "figure_8", "controls"])
def test_an_empty_panel_says_why_it_is_empty(name):
    """Where the dense model scores 0 there is no relative accuracy."""
    mute = "tgif" if name == "table_3" else "pope"
    found = results(STUDIES[name], name, mute)
    figure = home(name).REPORT.figure(replace(found))
    figure.canvas.draw()
    said = " ".join(" ".join(t.get_text().split()) for axes in figure.axes for t in axes.texts)
    label = "TGIF-QA" if name == "table_3" else "POPE"
    assert f"the dense model scores 0 on {label}" in said
    ticks = [tick for tick in figure.axes[0].get_xticklabels() if tick.get_text()]
    boxes = [tick.get_window_extent() for tick in ticks]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


# --- sparsevlm export --------------------------------------------------------------------------


def test_a_figure_is_exported_at_a_width_and_in_formats(tmp_path, capsys):
    options = ("--width", "3.25", "--format", "pdf,svg", "--svg-text", "--to", str(tmp_path))
    assert main(["export", "figure_3", *options, "-p", "tokens", "96"]) == 0
    names = ["figure_3_tokens-96_width-3-25.pdf", "figure_3_tokens-96_width-3-25.svg"]
    said = capsys.readouterr().out.splitlines()
    assert said == [f"wrote {tmp_path / name}" for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", (tmp_path / names[0]).read_bytes())
    assert float(box[1]) / 72 == pytest.approx(3.25)
    svg = (tmp_path / names[1]).read_text(encoding="utf-8")
    assert ">hourglass</text>" in svg and "DejaVu Sans" in svg


@pytest.mark.parametrize(
    ("options", "why", "code"),
    [
        (["--width", "5"], "width must be 3.25 or 6.75 inches", 2),
        (["--format", "eps"], "unknown format 'eps'; known: pdf, png, svg", 2),
        (["--format", "tex"], "figure_3 writes nothing as tex", 2),
        (["-p", "token", "3"], "unknown parameter 'token' of notebook figure_3", 2),
    ],
)
def test_what_cannot_be_exported_is_said(options, why, code, tmp_path, capsys):
    assert main(["export", "figure_3", *options, "--to", str(tmp_path)]) == code
    assert why in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_an_export_evaluates_nothing(tmp_path, capsys):
    assert main(["export", "table_1", "--limit", "5", "--to", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert (
        "results are missing" in error
        and "run `sparsevlm reproduce --profile mini --limit 5" in error
    )
