"""The site: whole, linked, escaped, and honest about what has not been run."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from explorer.browser import Browser, find_chromium
from nbconvert import HTMLExporter
from PIL import Image
from test_claims import without_records

from sparsevlm.cli import site
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.claims import collect as claims_collect

SOURCE = """\
# %% [markdown]
# # Figure {n}: probe & <friends>
#
# **Claim.** The [question](../docs/x.md) decides, and `code` is
# set as *code*.
#
# **What would falsify it.** The same survivors.

# %% tags=["parameters"]
profile: str = "mini"
"""


@pytest.fixture
def report():
    return without_records()


@pytest.fixture
def folders(tmp_path, monkeypatch, report):
    """Sources of figures 1, 2 and 10, of which 1 and 10 have pictures and 1 was executed."""
    monkeypatch.setattr(claims_collect, "collect", lambda: report)
    sources, figures = tmp_path / "src", tmp_path / "figures"
    executed = tmp_path / "artifacts" / "mini"
    shown = figures / "mini"
    for folder in (sources, shown, executed):
        folder.mkdir(parents=True)
    for number in (10, 1, 2):
        (sources / f"figure_{number}.py").write_text(SOURCE.format(n=number))
    (sources / "table_1.py").write_text(SOURCE.format(n=0).replace("Figure 0", "Table 1"))
    for name in ("figure_1", "figure_10"):
        Image.new("RGB", (1950, 900), "white").save(shown / f"{name}.png")
    (shown / "figure_1.data.csv").write_text("a\n1\n")
    (shown / "figure_1.partial.svg").write_text("")
    (executed / "figure_1.html").write_text("<html><body class='x'><p>executed</p></body></html>")
    return {"artifacts": tmp_path / "artifacts", "figures": figures, "sources": sources}


def build(folders) -> Path:
    return site.build(get_profile("mini"), **folders)


class Links(HTMLParser):
    """Targets of links and pictures, ids, and whether the tags close."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets, self.ids, self.open = [], set(), []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.targets += [given[key] for key in ("href", "src") if key in given]
        self.ids |= {given["id"]} if "id" in given else set()
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_link_leads_somewhere(folders):
    index = build(folders)
    pages = {page: Links(index.parent / page) for page in ("index.html", "claims.html")}
    for name, page in pages.items():
        assert page.open == [], name
        for target in page.targets:
            if target.startswith("https:"):
                continue
            file, _, anchor = target.partition("#")
            assert (index.parent / (file or name)).is_file(), target
            assert not anchor or anchor in pages[file or name].ids, target
    notebook = Links(index.parent / "notebooks" / "figure_1.html")
    assert notebook.open == [] and notebook.targets == ["../index.html#figure_1", "../claims.html"]
    assert "figures/figure_1.data.csv" in pages["index.html"].targets
    assert not [t for t in pages["index.html"].targets if "partial" in t]


def test_the_command_of_a_card_is_that_of_a_limited_profile(folders):
    text = site.build(get_profile("mini-8"), **folders).read_text()
    assert "sparsevlm reproduce --only figure_2 --profile mini --limit 8</pre>" in text


def test_the_index_shows_figures_in_order_and_says_what_is_missing(folders):
    text = build(folders).read_text()
    order = re.findall(r'<article id="(\w+)">', text)
    assert order == ["figure_1", "figure_2", "figure_10", "table_1"]
    cards = dict(zip(order, text.split("<article")[1:], strict=True))
    assert "notebooks/figure_1.html" in cards["figure_1"]
    assert "not run yet" in cards["figure_2"] and "notebooks/" not in cards["figure_2"]
    assert "thumbnails/figure_10.png" in cards["figure_10"]
    assert "figure_10.png" not in cards["figure_1"], "figure_1 does not own figure_10's files"
    assert "Figure 1: probe &amp; &lt;friends&gt;" in cards["figure_1"]
    assert "The question decides, and <code>code</code> is set as <em>code</em>." in text
    assert "sparsevlm reproduce --only figure_2" in cards["figure_2"]
    assert "miniature model, not LLaVA-1.5" in text
    assert "slip of the paper" in cards["table_1"] and "within tolerance" in cards["table_1"]


def test_thumbnails_are_small_and_figures_whole(folders):
    index = build(folders)
    with Image.open(index.parent / "thumbnails" / "figure_1.png") as small:
        assert small.width == site.THUMBNAIL_WIDTH
    copied = index.parent / "figures" / "figure_1.png"
    assert copied.read_bytes() == (folders["figures"] / "mini" / "figure_1.png").read_bytes()


def test_every_claim_is_there(folders, report):
    page = Links(build(folders).parent / "claims.html")
    assert {entry.claim.id for entry in report.entries} <= page.ids


def test_a_new_site_replaces_the_old_one(folders):
    index = build(folders)
    (index.parent / "stale.html").write_text("old")
    before = index.read_bytes()
    assert build(folders).read_bytes() == before
    assert not (index.parent / "stale.html").exists()
    assert not (index.parent.parent / "site.partial").exists()


def executed(code: str = "print(1)  # " + 90 * "x") -> str:
    """An executed notebook with long code, a wide table, a figure and a paragraph."""
    picture = io.BytesIO()
    Image.new("RGB", (1012, 450), "white").save(picture, "PNG")
    cells = "".join(f"<td>{n}.0 [9.0, 11.0]</td>" for n in range(20))
    table = f"<table><caption>{30 * 'of a '}</caption><tr>{cells}</tr></table>"
    shown = [
        {"image/png": base64.b64encode(picture.getvalue()).decode()}, {"text/html": table},
        {"text/markdown": 40 * "word "},
    ]  # fmt: skip
    v4 = nbformat.v4
    cell = v4.new_code_cell(code, outputs=[v4.new_output("display_data", data) for data in shown])
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# A heading " * 5), cell])
    return HTMLExporter().from_notebook_node(notebook)[0]


@pytest.mark.skipif(find_chromium() is None, reason="there is no chromium here")
def test_a_phone_moves_no_page_sideways_and_reads_every_figure(folders, tmp_path):
    (folders["artifacts"] / "mini" / "figure_1.html").write_text(executed())
    site_folder = build(folders).parent
    browser = Browser(tmp_path)
    try:
        browser.size(390, 844)
        for page in ("index.html", "claims.html", "notebooks/figure_1.html"):
            browser.open(f"file://{site_folder / page}")
            browser.until(f"location.pathname.endsWith('{page}') && !!document.querySelector('h1')")
            assert browser.js("document.documentElement.scrollWidth") <= 390, page
        # A figure and code are as large as on paper, and move by themselves; so does a table.
        assert browser.js("document.querySelector('.jp-OutputArea-output img').width") == 640
        for box in (".jp-OutputArea-output:has(img)", ".jp-InputArea-editor", "table"):
            found = "((n) => n.scrollWidth > n.clientWidth && getComputedStyle(n).overflowX)"
            assert browser.js(f"{found}(document.querySelector('{box}'))") == "auto", box
        assert browser.js("document.querySelector('caption').getBoundingClientRect().right") <= 390
        browser.open(f"file://{site_folder / 'claims.html'}")
        browser.until("!!document.querySelector('table.claims')")
        cells = "[...document.querySelectorAll('table.claims td')]"
        right = f"Math.max(...{cells}.map((cell) => cell.getBoundingClientRect().right))"
        assert browser.js(right) <= 390, "a claim is a card"
    finally:
        browser.close()
