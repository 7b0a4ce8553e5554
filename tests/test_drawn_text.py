"""Whatever a question, an answer or a name holds, every figure draws it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from explorer.test_explorer_view import FOUND, MODEL, PLACE  # noqa: E402
from fontTools.fontBuilder import FontBuilder  # noqa: E402
from fontTools.pens.ttGlyphPen import TTGlyphPen  # noqa: E402
from matplotlib import font_manager  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from PIL import Image  # noqa: E402

from sparsevlm.analysis import drawing, style, survivors  # noqa: E402
from sparsevlm.analysis.survivors import drawable, shortened  # noqa: E402
from sparsevlm.evaluation.results import provenance  # noqa: E402
from sparsevlm.explorer import static  # noqa: E402
from sparsevlm.explorer.exploration import AnswerToken  # noqa: E402
from sparsevlm.explorer.geometry import montage  # noqa: E402
from sparsevlm.explorer.images import ImageInput  # noqa: E402
from sparsevlm.paper.extras import attention_drawing, tour, tour_drawing  # noqa: E402
from sparsevlm.paper.extras.attention_maps import StageAttention  # noqa: E402
from sparsevlm.paper.figures import figure_2, figure_3, figure_6  # noqa: E402

NAN = "\u4f60\u597d"  # Chinese, which DejaVu lacks
HOSTILE = [
    "between $5 and $10", "$\\frac{$", "a_b^c \\alpha {x} $$", "50% & #1 ~ <b> \"'", "\\$5",
    "two\nlines\r\nand\ttabs", "bell \a nul \0 escape \x1b[31m delete \x7f", "\ud800 half",
    "x" * 300, "\u200b \ufeff \u202e back", NAN, "\u65e5\u672c\u8a9e \U0001f44d\u200d\U0001f680",
    "\u0643\u062a\u0627\u0628 \u05e9\u05dc\u05d5\u05dd", "e\u0301 \u0e01 \u0915\u094d\u0937", "",
]  # fmt: skip
NEVER = {*"\n\r\t\a\0\x1b\x7f", "\ud800"}


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        style.use_style()
        yield
    plt.close("all")


def save(figure, folder):
    """Save a figure; no text in it is a formula, none lacks a glyph, and its files can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="no font on this machine|constrained_layout")
        files = style.save_figure(figure, "probe", "mini", folder=folder)
    assert all(provenance.read(path)["figure"] == "probe" for path in files)
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert not any(text.get_parse_math() for text in texts)
    assert not {c for text in texts for c in text.get_text()} & (NEVER - {"\n"})
    return [text.get_text() for text in texts]


# --- Text -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:no font on this machine")
def test_any_text_is_drawn_anywhere(tmp_path):
    """Also where no function of ours has seen it: in titles, labels, legends and at ticks."""
    fig, rows = plt.subplots(len(HOSTILE), figsize=(6.75, 20.0))
    for text, axes in zip(HOSTILE, rows, strict=True):
        axes.plot([1, 2], label=f"a {text}")
        axes.set_title(text)
        axes.set_xlabel(text)
        axes.set_yticks([1, 2], [text, "b"])
        axes.legend()
        survivors.draw_words(axes, text.split() or ["?"], [0], 0.0, 0.5)
        assert not set(shortened(text)) & NEVER and len(shortened(text)) <= survivors.ROOM
    save(fig, tmp_path)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("between $5 and $10", "between $5 and $10"),
        ("the person is holding a white helmet", "the person is holding a …"),
        ("x" * 40, "x" * 27 + "…"),
        ("two\n lines", "two lines"),
        ("a\0b", "a\\x00b"),
        ("caf\u00e9 \u2192 \u03bb\u00a0\u2713", "caf\u00e9 \u2192 \u03bb \u2713"),
        ("", ""),
    ],
)
def test_a_text_becomes_one_short_line(text, drawn):
    assert shortened(text) == drawn


def test_what_no_font_draws_becomes_codes_and_a_warning_with_its_name():
    with pytest.warns(UserWarning, match="draws CJK UNIFIED IDEOGRAPH-4F60, CJK .* install a font"):
        assert drawable(f"it says {NAN}\u00e9\n") == "it says \\u4f60\\u597d\u00e9\n"


def test_a_font_of_this_machine_that_draws_it_joins_those_of_the_figures(tmp_path):
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((500, 0), (500, 500), (0, 500)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *map(str, range(len(NAN)))]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(c): str(i) for i, c in enumerate(NAN)})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Probe Han", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "probe.ttf")
    font_manager.fontManager.addfont(tmp_path / "probe.ttf")
    try:
        fig, axes = plt.subplots(figsize=(3.25, 2.0))
        early = fig.suptitle(NAN)
        assert shortened(NAN) == NAN
        survivors.draw_words(axes, [NAN], [], 0.0, 0.5)
        assert NAN in save(fig, tmp_path)
        assert early.get_fontfamily() == ["DejaVu Sans", "Probe Han"]
    finally:
        fonts = font_manager.fontManager.ttflist
        fonts[:] = [one for one in fonts if one.name != "Probe Han"]


# --- Figures ----------------------------------------------------------------------------------

WORDS = ("$5", "$", "\\frac{$}", NAN, "x" * 60, "a\0b", "_^", "\u05e9\u05dc\u05d5\u05dd")


def spoilt(one, truth=""):
    """An asked example with such words, answers and names."""
    words = tuple(WORDS[i % len(WORDS)] if i in one.asked else w for i, w in enumerate(one.words))
    text = " ".join(HOSTILE[:8])
    answer = replace(one.answer, words=words, text=text)
    example = replace(one.example, question=text, answer=truth, kind="$a$ \\b $", name="$x$")
    return replace(one, answer=answer, example=example)


def spoil_all(data):
    """All of a figure's data."""
    if hasattr(data, "asked") and hasattr(data, "answer"):
        return spoilt(data)
    if isinstance(data, list | tuple) and not hasattr(data, "_fields"):
        return type(data)(spoil_all(part) for part in data)
    if isinstance(data, dict):
        return {key: spoil_all(part) for key, part in data.items()}
    if hasattr(data, "__dataclass_fields__") and not {"tokens_in", "select"} & {*dir(data)}:
        fields = {name: spoil_all(getattr(data, name)) for name in data.__dataclass_fields__}
        return replace(data, **fields)
    return data


def draw_rating(data):
    """P of the tour, whose rows are named by the raters."""
    rating = torch.from_numpy(data.run.breakdowns[0].rating)
    return tour_drawing.draw_rating(data, rating, rating.mean(0))


def draw_life(data):
    """The stages of the tour, whose question, words and answer are written above them."""
    return attention_drawing.draw_stages(StageAttention(data.run, data.run.raters))


FIGURES = {
    figure_2: [figure_2.draw],
    figure_3: [figure_3.draw],
    figure_6: [figure_6.draw],
    tour: [tour_drawing.draw_question, draw_rating, draw_life],
}


@pytest.mark.filterwarnings("ignore:no font on this machine")
@pytest.mark.parametrize("module", FIGURES, ids=lambda module: module.__name__.split(".")[-1])
def test_figures_draw_any_words_and_answers(module, tmp_path):
    data = spoil_all(module.measure("mini"))
    texts = [text for draw in FIGURES[module] for text in save(draw(data), tmp_path)]
    assert any("$" in text for text in texts)


@pytest.mark.filterwarnings("ignore:no font on this machine")
def test_the_explorers_figure_draws_any_words_and_answers(tmp_path):
    found = replace(
        FOUND, words=("$5", "$\\frac{$", NAN), query=replace(FOUND.query, question="$ $"),
        dense=tuple(AnswerToken(text, 0.5, 0.5) for text in HOSTILE),
    )  # fmt: skip
    shown = montage(ImageInput.open(Image.new("RGB", (60, 40))), PLACE)
    texts = save(static.draw([found], MODEL, shown, caution="\u201c$a$\u201d \0"), tmp_path)
    assert "$\\frac{$" in texts


def test_logarithmic_labels_are_no_formulas():
    _, axes = plt.subplots()
    drawing.log_y_axis(axes)
    axes.set_ylim(0.001, 20)
    axes.figure.canvas.draw()
    assert {"10\u207b\u00b3", "10\u2070", "10\u00b9"} <= {
        t.get_text() for t in axes.get_yticklabels()
    }
