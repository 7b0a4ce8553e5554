"""Figures: three files of the named width, fonts inside, provenance inside, marker visible."""

from __future__ import annotations

import io
import json
import re
from importlib import import_module
from importlib.util import find_spec

import matplotlib
import pandas as pd
import pytest
from PIL import Image

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from sparsevlm.analysis import style
from sparsevlm.evaluation.paths import FIGURES  # noqa: E402
from sparsevlm.evaluation.profiles import get_profile  # noqa: E402
from sparsevlm.evaluation.results import provenance  # noqa: E402
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import missing_runs, plan_runs  # noqa: E402
from sparsevlm.evaluation.studies import studies_of  # noqa: E402

MARKER = get_profile("mini").marker


@pytest.fixture
def figure():
    with matplotlib.rc_context():
        style.use_style()
        fig, axes = plt.subplots(figsize=(3.25, 2.0))
        axes.plot([64, 192], [80, 90])
        axes.set_xlabel("visual tokens")
        yield fig
        plt.close(fig)


def note_in_png(path) -> dict:
    with Image.open(path) as image:
        return json.loads(image.info["Description"])


def test_three_files_and_nothing_else(figure, tmp_path):
    files = style.save_figure(figure, "probe", "mini", ["b", "a"], folder=tmp_path)
    assert [path.name for path in files] == ["probe.pdf", "probe.png", "probe.svg"]
    assert sorted((tmp_path / "mini").iterdir()) == files


def test_provenance_is_in_all_three(figure, tmp_path):
    pdf, png, svg = style.save_figure(figure, "probe", "mini", ["b", "a"], folder=tmp_path)
    note = note_in_png(png)
    assert note["cells"] == ["a", "b"] and note["profile"] == "mini" and note["marker"] == MARKER
    assert note["versions"]["python"] and "commit" in note and "dirty" in note
    assert b'"cells": ["a", "b"]' in pdf.read_bytes()
    assert '"cells": ["a", "b"]' in svg.read_text().replace("&quot;", '"')


def test_fonts_are_embedded(figure, tmp_path):
    pdf, _, svg = style.save_figure(figure, "probe", "mini", folder=tmp_path)
    fonts = pdf.read_bytes()
    assert b"/FontFile2" in fonts and b"/Type3" not in fonts
    assert "<text" not in svg.read_text() and "font-family" not in svg.read_text()


def test_width_is_that_of_a_column(figure, tmp_path):
    pdf, png, _ = style.save_figure(figure, "probe", "mini", folder=tmp_path)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
    assert [round(float(side) / 72, 3) for side in box.groups()] == [3.25, 2.0]
    with Image.open(png) as image:
        assert image.size == (975, 600)


def test_the_marker_is_drawn_once_and_below_the_axes(figure, tmp_path):
    for _ in range(2):
        style.save_figure(figure, "probe", "mini", folder=tmp_path)
    (line,) = [text for text in figure.texts if text.get_text() == MARKER]
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    label = figure.axes[0].xaxis.label.get_window_extent(renderer)
    assert line.get_window_extent(renderer).y1 <= label.y0


def test_other_profiles_have_a_folder_and_a_marker_of_their_own(figure, tmp_path):
    style.save_figure(figure, "probe", "a100", folder=tmp_path)
    assert note_in_png(tmp_path / "a100" / "probe.png")["marker"] == ""
    assert figure.texts == []


def test_the_same_figure_gives_the_same_bytes(figure, tmp_path):
    first = [p.read_bytes() for p in style.save_figure(figure, "a", "mini", folder=tmp_path)]
    again = [p.read_bytes() for p in style.save_figure(figure, "a", "mini", folder=tmp_path)]
    assert first == again


def test_a_failed_write_leaves_the_old_figure(figure, tmp_path, monkeypatch):
    (pdf, *_) = style.save_figure(figure, "probe", "mini", folder=tmp_path)
    old = pdf.read_bytes()
    figure.axes[0].set_xlabel("$\\frac{$", parse_math=True)  # so that drawing fails midway
    with pytest.raises(ValueError):
        style.save_figure(figure, "probe", "mini", folder=tmp_path)
    assert pdf.read_bytes() == old and not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("name", ["probe.pdf", "sub/probe", ""])
def test_a_name_is_only_a_name(figure, name):
    with pytest.raises(ValueError, match="without folder and extension"):
        style.save_figure(figure, name, "mini")


def test_an_unknown_profile_is_refused(figure, tmp_path):
    with pytest.raises(ValueError, match="unknown profile"):
        style.save_figure(figure, "probe", "maxi", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- The data that is plotted ------------------------------------------------------------------

DATA = pd.DataFrame({"tokens": [64, 192], "score": [100 / 3, 90.0], "method": ["a", "b,c"]})


def test_what_is_plotted_lies_beside_the_figure(figure, tmp_path):
    files = style.save_figure(figure, "probe", "mini", folder=tmp_path, data=DATA)
    assert [path.name for path in files][3:] == ["probe.data.csv"]
    text = files[3].read_text()
    assert text == 'tokens,score,method\n64,33.3333,a\n192,90,"b,c"\n'
    style.save_figure(figure, "probe", "mini", folder=tmp_path, data=DATA)
    assert files[3].read_text() == text
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), DATA, rtol=1e-5)


def test_a_named_index_is_data_and_an_unnamed_one_is_not(figure, tmp_path):
    named = DATA.set_index("method")
    *_, sidecar = style.save_figure(figure, "probe", "mini", folder=tmp_path, data=named)
    assert sidecar.read_text().splitlines()[0] == "method,tokens,score"


def test_no_sidecar_of_an_earlier_figure_is_left(figure, tmp_path):
    style.save_figure(figure, "probe", "mini", folder=tmp_path, data=DATA)
    files = style.save_figure(figure, "probe", "mini", folder=tmp_path)
    assert sorted((tmp_path / "mini").iterdir()) == sorted(files) and len(files) == 3


def test_the_ids_of_clip_paths_do_not_depend_on_chance():
    clips = '<clipPath id="pabcdefabcd"/><clipPath id="p0123456789"/>'
    svg = f'<g clip-path="url(#p0123456789)"/>{clips}'
    assert style.with_stable_ids(svg) == (
        '<g clip-path="url(#clip2)"/><clipPath id="clip1"/><clipPath id="clip2"/>'
    )
    assert style.with_stable_ids('<path id="p0123456789"/>') == '<path id="p0123456789"/>'


# --- The committed figures ---------------------------------------------------------------------


def _home(name):
    known = [f"sparsevlm.paper.{part}.{name}" for part in ("tables", "figures", "extras")]
    return import_module(next(module for module in known if find_spec(module)))


def _redrawn(name):
    """A figure that is made of runs; it bears the name of its notebook, some with an addition."""
    if name == "miniature_price":
        from sparsevlm.paper.extras import miniature_validity

        return miniature_validity.draw_price(miniature_validity.load("mini"))
    if name == "study":
        from sparsevlm.paper.extras import any_study

        return any_study.figure(any_study.measure("mini", "controls"))
    report = _home(name).REPORT
    return report.figure(report.measure("mini", run_missing=False))


# The figures that are made of runs; the others show what they compute.
REDRAW = {
    "miniature_price": "miniature",
    **{
        name: name
        for name in (
            "table_1", "table_1_v1", "table_2", "table_3", "table_4", "figure_4", "figure_5",
            "figure_8", "figure_9", "figure_10", "variants", "controls", "study",
            "methods",
        )
    },
}  # fmt: skip
COMMITTED = sorted(path.stem for path in FIGURES.glob("*.png"))


def _marker(name):
    studies = studies_of(name)
    mini = get_profile("mini")
    return mini.for_study(studies[0]).marker if studies else mini.marker


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_figure_says_where_it_comes_from(name):
    notes = [provenance.read(FIGURES / f"{name}.{kind}") for kind in style.FORMATS]
    assert notes[0] == notes[1] == notes[2], "the three files are of one run"
    assert notes[0]["figure"] == name and notes[0]["profile"] == "mini"
    assert notes[0]["marker"] == _marker(name)
    # Not every run of `your_method` is kept, so it cannot be drawn again from records.
    known = not notes[0]["cells"] or name in (*REDRAW, "your_method")
    assert known, "say in REDRAW how it is drawn from its runs"


@pytest.mark.parametrize("name", sorted(REDRAW))
def test_a_committed_figure_is_what_the_records_give(name, tmp_path):
    studies = studies_of(REDRAW[name])
    study = studies[0] if len(studies) == 1 else ""
    runs = [run for each in studies for run in plan_runs(get_profile("mini").for_study(each))]
    if missing := missing_runs(runs, Store()):
        pytest.skip(f"{len(missing)} results of the miniature are not at hand")
    note = provenance.read(FIGURES / f"{name}.svg")
    if note["versions"] != provenance.versions():
        pytest.skip("the committed figure was drawn with other versions")
    with matplotlib.rc_context():
        style.save_figure(_redrawn(name), name, "mini", folder=tmp_path, study=study)
    drawn, committed = (
        re.sub(r"<metadata>.*?</metadata>", "", (folder / f"{name}.svg").read_text(), flags=re.S)
        for folder in (tmp_path / "mini", FIGURES)
    )
    assert drawn == committed, "run `make figures`"
