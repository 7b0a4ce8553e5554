"""The explorer in a real browser: open, ask, move the slider, click a patch, compare, export.

Runs where chromium is installed. SPARSEVLM_SCREENSHOTS names a folder to keep the pictures in.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from browser import Browser, Lab, find_chromium, wait_for
from PIL import Image

from sparsevlm.evaluation.paths import NOTEBOOKS, ROOT
from sparsevlm.explorer import lesson

pytest.importorskip("websocket", reason="websocket-client, which comes with JupyterLab, is missing")
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no chromium here")

SHARED = """\
from pathlib import Path
from sparsevlm.explorer.app import Explorer
Explorer.share.__defaults__ = (Path("shared"),)
"""
SIZES = {"small": (1280, 720), "large": (1400, 900)}  # a laptop's, and a window on a screen
SET = """((name, value) => {
  const label = [...document.querySelectorAll('.jp-OutputArea label')]
    .find((label) => label.textContent.trim() === name);
  const input = label.parentElement.querySelector('select, input');
  const plain = (text) => text.replace(/\\u00a0/g, ' ');
  if (input.tagName === 'SELECT')
    input.selectedIndex = [...input.options].findIndex((o) => plain(o.textContent).includes(value));
  else { input.focus(); input.value = value; }
  for (const kind of ['input', 'change']) input.dispatchEvent(new Event(kind, {bubbles: true}));
  input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 13, bubbles: true}));
  return true;
})"""
FOCUSED = "document.activeElement.parentElement?.querySelector('label')?.textContent"
STATUS = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
PRESS = """((text) => {
  const button = [...document.querySelectorAll('.jp-OutputArea button')]
    .find((button) => button.textContent.includes(text));
  button?.click();
  return !!button && !button.disabled;
})"""


class Page:
    """A notebook with the explorer, open in a browser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The notebook itself as far as the explorer; what follows would write tracked figures.
        notebook = json.loads((NOTEBOOKS / "explore.ipynb").read_text(encoding="utf-8"))
        notebook["cells"] = notebook["cells"][:3]
        notebook["cells"][2]["source"].insert(0, SHARED)
        (folder / "notebooks").mkdir()
        (folder / "notebooks" / "t.ipynb").write_text(json.dumps(notebook))
        self.lab = Lab(folder)
        try:
            self.browser = Browser(folder)
        except BaseException:
            self.lab.close()
            raise

    def open(self) -> None:
        self.lab.wait()
        self.browser.open(self.lab.url("notebooks/t.ipynb"))
        self.browser.size(*SIZES["large"])
        self.browser.until("!!window.jupyterapp && !!document.querySelector('.jp-Cell')", 90)

    def run(self) -> None:
        """Run the cell, when there is a kernel: before, JupyterLab would ask for one."""
        running = "[...jupyterapp.serviceManager.sessions.running()].length"
        self.browser.until(f"{running} === 1 && {STATUS} === 'idle'", 90)

        def started() -> bool:
            self.browser.js("jupyterapp.commands.execute('notebook:run-all-cells'), true")
            self.browser.js("document.querySelector('.jp-Dialog .jp-mod-accept')?.click()")
            return self.browser.js(
                f"({STATUS} !== 'idle' || !!document.querySelector('.sv-explorer'))"
                " && !document.querySelector('.jp-Dialog')"
            )

        wait_for(started, 60, gap=2)
        self.panels(2, 90)

    def close(self) -> None:
        self.browser.close()
        self.lab.close()

    def set(self, name: str, value: str) -> None:
        assert self.browser.js(f"{SET}({json.dumps(name)}, {json.dumps(value)})")

    def press(self, text: str) -> None:
        """Press a button, as soon as it can be pressed."""
        wait_for(lambda: self.browser.js(f"{PRESS}({json.dumps(text)})"), 30)

    def panels(self, number: int, seconds: float = 60) -> None:
        self.browser.until(
            f"document.querySelectorAll('.sv-explorer canvas').length === {number}", seconds
        )

    def text(self, selector: str) -> str:
        found = f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"
        return self.browser.js(found)

    def until_text(self, selector: str, part: str, seconds: float = 60) -> None:
        wait_for(lambda: part in self.text(selector), seconds)

    def picture(self) -> str:
        """What is drawn on the first canvas, as a data URL."""
        return self.browser.js("document.querySelector('.sv-explorer canvas').toDataURL()")

    def patch(self, row: float, column: float, panel: int = 0) -> tuple[float, float]:
        """Where the middle of a patch is on the screen, for 24 x 24 patches."""
        left, top, width = self.browser.js(
            f"(() => {{ const box = document.querySelectorAll('.sv-explorer canvas')[{panel}]"
            ".getBoundingClientRect(); return [box.left, box.top, box.width]; })()"
        )
        return left + (column + 0.5) * width / 24, top + (row + 0.5) * width / 24

    def drag(self, start: tuple[float, float], end: tuple[float, float], drop: bool = True) -> None:
        steps = [("mouseMoved", start), ("mousePressed", start), ("mouseMoved", end)]
        for kind, place in [*steps, ("mouseReleased", end)] if drop else steps:
            self.browser.mouse(kind, *place)

    def slide(self, position: int) -> None:
        self.browser.js(
            "(() => { const s = document.querySelector('.sv-slider input');"
            f"s.value = {position}; s.dispatchEvent(new Event('input')); }})()"
        )

    def lesson(self, number: int) -> str:
        """Go on to a step of the lesson; what it says."""
        if f"{number} of 5" not in self.text(".sv-lesson"):
            self.press("next" if number > 1 else "lesson")
        self.until_text(".sv-lesson", f"{number} of 5", 120)
        return self.text(".sv-lesson")

    def plain(self) -> None:
        """The lesson's first step, which is how the notebook opens."""
        self.set("question", lesson.STEPS[0].question)
        self.set("compare with", "nothing")
        self.press("the picture")
        if "by hand" in self.text(".sv-panels"):
            self.press("undo my changes")
        self.until_text(".sv-lesson", "1 of 5", 120)
        self.panels(2)
        self.browser.js("document.activeElement.blur()")
        self.browser.mouse("mouseMoved", 2, 2)
        self.slide(4)

    def until_option(self, text: str) -> None:
        """Wait until a choice is offered."""
        plain = "o.text.replace(/\\u00a0/g, ' ')"
        found = f"[...document.querySelectorAll('option')].some((o) => {plain} === {text!r})"
        self.browser.until(found, 60)

    def keep(self, name: str, sizes: tuple[str, ...] = ("small", "large")) -> None:
        folder = os.environ.get("SPARSEVLM_SCREENSHOTS")
        for size in sizes if folder else ():
            self.browser.size(*SIZES[size])
            time.sleep(0.5)
            self.browser.screenshot(Path(folder) / f"{name}_{size}.png")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("lab"))
    try:
        page.open()
        page.run()
        yield page
        assert page.browser.failures == []
    finally:
        page.close()


BOXES = """((selectors) => {
  const view = document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect();
  return selectors.map((selector) => [...document.querySelectorAll(selector)].map((node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && box.top >= view.top && box.bottom <= view.bottom
      && box.left >= view.left && box.right <= view.right;
  }));
})"""


def test_nothing_has_to_be_scrolled(page):
    """The lesson, the layer, the whole picture, what is left of it, the words, both answers."""
    wanted = [".sv-lesson", ".sv-slider", ".sv-stages span", ".sv-explorer canvas",
              ".sv-panels figcaption:not(:empty)", ".sv-answer .ans", ".sv-answer p"]  # fmt: skip
    for name, counts, words in (
        ("1_open", [1, 1, 3, 2, 1, 2, 1, 10], [".sv-word"]),
        ("2_two_questions", [1, 1, 3, 4, 3, 4, 2], []),
    ):
        page.lesson(int(name[0]))
        page.panels(counts[3])
        for size in SIZES.values():
            page.browser.size(*size)
            time.sleep(1)
            boxes = page.browser.js(f"{BOXES}({json.dumps(wanted + words)})")
            assert [len(found) for found in boxes] == counts
            assert all(all(found) for found in boxes), dict(zip(wanted, boxes, strict=False))
        page.keep(name)
    folded = (
        "document.querySelectorAll('.jp-CodeCell .jp-Cell-inputWrapper .jp-Placeholder').length"
    )
    assert page.browser.js(folded) == 2, "both code cells are folded"
    page.plain()


def test_it_opens_on_a_success(page):
    assert page.text(".sv-panels figcaption") == "" and "of 576" in page.text(".sv-explorer")
    assert "Same answer" in page.text(".sv-answer") and "1 of 5" in page.text(".sv-lesson")
    assert page.text(".sv-slider output") == "after layer 3: 58 tokens in, 29 out"
    hints = page.browser.js("[...document.querySelectorAll('.sv-totals span')].map((x) => x.title)")
    assert len(hints) == 4 and all(hints), "every number says what it is"
    colours = page.browser.js(
        "(() => { const c = document.querySelector('.sv-explorer canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return new Set(Array.from(new Uint32Array(d.buffer))).size; })()"
    )
    assert colours > 100, "the picture"


def test_the_lesson_in_four_clicks(page):
    assert "the question decides" in page.lesson(2).lower()
    page.panels(4)
    assert "in place of Z" in page.lesson(3)
    page.until_text(".sv-answer p", "Another answer: “none” in place of “Z”")
    page.keep("3_failure")
    page.press("brown")
    page.until_text(".sv-lesson", "4 of 5", 60)
    page.until_text(".sv-answer p", "Same answer")
    assert "by hand: “brown” and “card” rate" in page.text(".sv-panels figure:last-child h4")
    page.keep("4_word")
    assert "forced to stay" in page.lesson(5)
    page.until_text(".sv-panels figure:last-child h4", "by hand: 9 patches forced to stay")
    page.until_text(".sv-answer p", "Same answer")
    page.keep("5_patches")
    page.plain()


def test_the_slider_redraws_at_once(page):
    before = page.browser.js("document.querySelectorAll('.sv-explorer canvas')[1].toDataURL()")
    milliseconds = page.browser.js(
        "(() => { const s = document.querySelector('.sv-slider input'), start = performance.now();"
        "s.value = 1; s.dispatchEvent(new Event('input')); return performance.now() - start; })()"
    )
    assert page.text(".sv-slider output").startswith("after layer 0: 576 tokens in")
    after = page.browser.js("document.querySelectorAll('.sv-explorer canvas')[1].toDataURL()")
    assert after != before
    print(f"slider: {milliseconds:.1f} ms")
    page.slide(4)


def test_hovering_tells_the_history_and_shows_the_group(page):
    page.browser.mouse("mouseMoved", *page.patch(4, 7))
    page.until_text(".sv-status", "row 4, column 7")
    assert "after layer 0: score" in page.text(".sv-status")
    status = page.browser.js(
        "(() => { const canvas = document.querySelectorAll('.sv-explorer canvas')[1];"
        "const before = canvas.toDataURL(), box = canvas.getBoundingClientRect();"
        "for (let i = 0; i < 576; i++) {"
        "  const [x, y] = [i % 24, Math.floor(i / 24)].map((v) => (v + 0.5) * box.width / 24);"
        "  canvas.dispatchEvent(new PointerEvent('pointermove',"
        "    {clientX: box.left + x, clientY: box.top + y}));"
        "  const said = document.querySelector('.sv-status').textContent;"
        "  if (/after layer 3: .*recycled into group/.test(said))"
        "    return [said, before !== canvas.toDataURL()];"
        "} })()"
    )
    assert "into group" in status[0] and status[1], "outlined, with its number"
    page.keep("6_group")
    page.browser.mouse("mouseMoved", 2, 2)


def test_comparing_with_the_other_methods(page):
    page.set("compare with", "the other methods")
    page.panels(7, 120)
    page.keep("7_methods")
    page.set("compare with", "nothing")
    page.panels(2)


def test_words_typed_as_people_type_them(page):
    page.set("question", "What color is the Ring?")
    page.until_text(".sv-words", "ring", 120)
    assert "<unk>" not in page.text(".sv-words") and "blue" in page.text(".sv-answer")
    assert page.browser.js(FOCUSED) == "question", "the next question can be typed at once"
    page.set("question", "What is the zebra?")
    page.browser.until("!!document.querySelector('.sv-warning')", 60)
    assert "does not know “zebra”" in page.text(".sv-warning")
    assert "hourglass" in page.text(".sv-warning details")
    page.browser.js("document.querySelector('.sv-warning details').open = true")
    page.keep("8_unknown_word")
    page.plain()


def test_a_drag_shows_its_rectangle_and_forces(page):
    before = page.picture()
    page.drag(page.patch(11, 6), page.patch(13, 8), drop=False)
    page.until_text(".sv-status", "release to force 9 patches")
    assert page.picture() != before
    page.keep("9_drag", sizes=("large",))
    page.browser.mouse("mouseReleased", *page.patch(13, 8))
    page.until_text(".sv-legend", "forced to stay")
    page.press("undo my changes")
    wait_for(lambda: "forced" not in page.text(".sv-legend"), 60)


def test_the_keyboard_moves_forces_and_goes_on(page):
    page.browser.js("document.querySelectorAll('.sv-explorer canvas')[1].focus()")
    page.browser.key("ArrowRight", 39)
    first = page.text(".sv-status")
    page.browser.key("ArrowDown", 40)
    second = page.text(".sv-status")
    assert second != first and "row" in first
    page.browser.key("[", 219)
    page.until_text(".sv-slider output", "after layer 2")
    page.browser.key("Enter", 13)
    page.until_text(".sv-legend", "forced to")
    assert page.browser.js("document.activeElement.dataset.key") == "canvas 1", "the focus stays"
    page.browser.key("ArrowUp", 38)
    page.until_text(".sv-status", first[:10])
    page.browser.js("document.querySelector('.sv-word').focus()")
    page.browser.key("Enter", 13, text="\r")
    page.until_text(".sv-panels figure:last-child h4", "“what”", 60)
    assert page.browser.js("document.activeElement.dataset.key") == "word 1 0"
    folded = "document.querySelectorAll('.jp-CodeCell .jp-Placeholder').length"
    assert page.browser.js(folded) == 2, "Enter was for the explorer, not for the cell"
    page.plain()


def test_attention_beside_what_is_left(page):
    page.press("attention")
    page.until_text(".sv-legend", "attention of mean of “white”, “card”", 120)
    page.until_option("letter (2)")
    page.set("of", "letter (2)")
    page.until_text(".sv-panels h4", "attention of “letter”")
    page.set("head", "2")
    page.until_text(".sv-legend", "head 2")
    assert page.browser.js("document.querySelector('.sv-scale').children.length") == 1
    numbers = page.text(".sv-scale")
    page.slide(2)
    assert page.text(".sv-scale") != numbers, "every layer has its own scale"
    page.keep("10_attention")
    page.slide(8)
    assert "is not recorded: it decides nothing" in page.text(".sv-note")
    page.slide(4)
    assert page.text(".sv-note") == ""
    page.press("when it was lost")
    page.until_text(".sv-legend", "lost its place")
    page.keep("11_lost")
    page.plain()


def test_an_error_is_shown_in_the_widget(page):
    alert = "(document.querySelector('.jp-OutputArea [role=alert]') || {}).textContent || ''"

    def refused() -> bool:
        # Asked again: on a busy machine the answer to the test before may come late and clear it.
        page.set("tokens", "4000")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if "4000" in page.browser.js(alert):
                return True
            time.sleep(0.05)
        return False

    wait_for(refused, 60)
    assert not page.browser.js("!!document.querySelector('[data-mime-type*=stderr]')")
    page.browser.until("document.querySelector('input[type=number]').value === '64'")


def upload(page, path):
    """Choose a file in the dialog behind "open image"."""
    page.browser.call("Page.setInterceptFileChooserDialog", enabled=True)
    page.browser.chooser = None
    press = f"{PRESS}('open image')"
    page.browser.call("Runtime.evaluate", expression=press, userGesture=True)
    wait_for(lambda: page.browser.js("true") and page.browser.chooser, 30)
    node = page.browser.chooser["backendNodeId"]
    page.browser.call("DOM.setFileInputFiles", files=[str(path)], backendNodeId=node)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_a_broken_file_gives_a_sentence(page, tmp_path, content):
    page.set("question", lesson.STEPS[0].question)
    (tmp_path / "broken.png").write_bytes(content)
    upload(page, tmp_path / "broken.png")
    page.until_text(".sv-alert", "broken.png", 60)
    assert "of 576" in page.text(".sv-explorer"), "what was there is still to be seen"


@pytest.mark.parametrize("size", [(40, 2000), (2000, 40)])
def test_a_long_picture_leaves_the_legend_where_it_is(page, tmp_path, size):
    Image.new("RGB", size, "#2060a0").save(tmp_path / "long.png")
    upload(page, tmp_path / "long.png")
    page.until_text(".sv-warning", "drawn scenes", 60)
    (seen,) = page.browser.js(f"{BOXES}(['.sv-canvas, .sv-legend'])")
    assert seen == [True, True, True], "both pictures and the legend, without scrolling"
    page.keep(f"12_long_{size[0]}")
    page.set("image", "Miniature scene 6")
    page.until_text(".sv-lesson", "1 of 5", 60)


def test_what_is_shared_can_be_downloaded(page):
    page.press("share")
    page.browser.until("!!document.querySelector('a[download]')", 120)
    name = page.browser.js("document.querySelector('a[download]').download")
    assert (page.folder / "notebooks" / "shared" / name.removesuffix(".zip") / "again.py").exists()
    page.browser.call(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(page.folder)
    )
    page.browser.js("document.querySelector('a[download]').click()")
    wait_for((page.folder / name).exists, 30)
    with zipfile.ZipFile(page.folder / name) as file:
        assert any(path.endswith("session.json.gz") for path in file.namelist())
    page.keep("13_share")


def test_it_survives_a_reload(page):
    page.set("question", "what shape is the pink thing ?")
    page.until_text(".sv-words", "pink", 60)
    page.browser.js("jupyterapp.commands.execute('docmanager:save').then(() => true)")
    page.open()
    page.panels(2, 90)
    page.until_text(".sv-words", "pink", 60)
    page.set("question", "is there a blue ring in the image ?")
    page.until_text(".sv-words", "ring", 120)


def test_it_is_at_home_in_a_dark_theme(page):
    page.browser.js(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
        ".then(() => true)"
    )
    page.browser.until("document.body.dataset.jpThemeLight === 'false'", 30)
    time.sleep(1)
    light = (
        "((node) => { const c = getComputedStyle(node).color.match(/\\d+/g).map(Number);"
        "return (c[0] + c[1] + c[2]) / 3; })(document.querySelector('SELECTOR'))"
    )
    for selector in (".sv-word", ".sv-answer b", ".sv-legend span", ".sv-lesson span"):
        assert page.browser.js(light.replace("SELECTOR", selector)) > 150, selector
    page.keep("14_dark")


def test_make_lab_opens_the_explorer_at_the_root():
    done = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if "jupyterlab" in line)
    assert "--notebook-dir=." in line and line.endswith(" notebooks/explore.ipynb")
    assert (ROOT / "notebooks" / "explore.ipynb").exists()
