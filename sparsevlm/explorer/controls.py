"""The widgets around the patches. Every callback ends in a picture or a message, never in a log."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets
from PIL import Image

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.evaluation.paths import relative
from sparsevlm.explorer.app import COMPARISONS, fitting, suggestions
from sparsevlm.explorer.samples import sample_pictures
from sparsevlm.explorer.view.color_map import MODES, Choice
from sparsevlm.explorer.view.patch_view import PatchView

if TYPE_CHECKING:
    from sparsevlm.explorer.app import Explorer

OWN = "own"
MEAN = -1  # a dropdown takes None for "nothing chosen"
VARIANTS = {
    "v1.5 (Table 1)": "sparsevlm", "all words rate": "sparsevlm-all-text",
    "paper": "sparsevlm-paper", "v1.0": "sparsevlm-v1.0", "video": "sparsevlm-video",
    "SparseVLM+": "sparsevlm-plus",
}  # fmt: skip
BASELINES = ("fastv", "pdrop", "tome", "random", "uniform", "dense")
COMPARE_LABELS = ("nothing", "a second question", "the other methods")
MODE_LABELS = ("what it is now", "when it was lost", "score", "attention")


class Controls:
    """Widgets of one explorer.

    Parameters
    ----------
    explorer
        Holds what is chosen; the widgets follow it, and change it.

    Attributes
    ----------
    box
        All of it, to be displayed.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self._quiet = explorer, False
        self.view, self.message = PatchView(), widgets.HTML()
        self._make()
        self._wire()
        self.box = widgets.VBox([
            widgets.HBox([self.picture, self.upload, self.hint]),
            widgets.HBox([self.question, self.go]),
            widgets.HBox([self.method, self.variant, self.tokens, self.compare]),
            self.second,
            widgets.HBox([self.mode, self.padding, self.release, self.share]),
            widgets.HBox([self.head, self.word]),
            self.message, self.view,
        ])  # fmt: skip
        self.box.add_class("sv-controls")
        self.show()

    def _make(self) -> None:
        samples = [(f"{s.title} ({s.kind})", s.name) for s in sample_pictures().values()]
        self.picture = _dropdown("picture", [*samples, ("own picture", OWN)], "330px")
        self.upload = widgets.FileUpload(
            accept="image/*", multiple=True, description="open a picture",
            tooltip="one picture, or the frames of a video in the order of their names",
        )  # fmt: skip
        self.hint = _dropdown("suggestions", [], "420px")
        self.question = _text("question")
        self.go = widgets.Button(description="ask", button_style="primary")
        methods = [("SparseVLM", "sparsevlm"), *((METHOD_STYLE[m].label, m) for m in BASELINES)]
        self.method = _dropdown("method", methods, "230px")
        self.variant = _dropdown("variant", list(VARIANTS.items()), "230px")
        self.tokens = widgets.BoundedIntText(
            description="budget", min=1, max=4096, layout={"width": "170px"}
        )
        self.compare = _dropdown(
            "compare", list(zip(COMPARE_LABELS, COMPARISONS, strict=True)), "270px"
        )
        self.second = _text("question 2")
        self.mode = widgets.ToggleButtons(
            options=list(zip(MODE_LABELS, MODES, strict=True)),
            style={"button_width": "auto"}, layout={"margin": "2px 24px 2px 90px"},
        )  # fmt: skip
        self.head, self.word = _dropdown("head", [], "190px"), _dropdown("word", [], "230px")
        self.padding = widgets.Checkbox(
            description="show padding", indent=False, layout={"width": "130px"}
        )
        self.release = widgets.Button(description="undo my changes")
        self.share = widgets.Button(description="share", tooltip="trace, picture and code")

    def _wire(self) -> None:
        def on(widget: widgets.Widget, act: Callable) -> None:
            widget.observe(lambda change: self._do(act, change["new"]), "value")

        explorer = self.explorer
        on(self.picture, lambda name: name != OWN and explorer.put(name))
        on(self.upload, self._open)
        on(self.hint, lambda text: text and explorer.change(question=text))
        on(self.question, lambda text: explorer.change(question=text))
        on(self.method, lambda name: explorer.change(method=name))
        on(self.variant, lambda name: explorer.change(method=name))
        on(self.tokens, lambda tokens: explorer.change(tokens=tokens))
        on(self.compare, lambda name: setattr(explorer, "compare", name))
        on(self.second, lambda text: setattr(explorer, "second", text))
        for widget in (self.mode, self.head, self.word):
            on(widget, lambda _: self._paint())
        on(self.padding, lambda shown: setattr(explorer, "show_padding", shown))
        self.go.on_click(lambda _: self._do(lambda _: None))
        self.release.on_click(lambda _: self._do(lambda _: explorer.release()))
        self.share.on_click(lambda _: self._share())
        self.view.on_msg(lambda _, content, buffers: self._do(self._clicked, content))

    def _open(self, files: tuple) -> None:
        if files:
            named = sorted(files, key=lambda file: file["name"])
            frames = [Image.open(io.BytesIO(bytes(file["content"]))) for file in named]
            self.explorer.put(frames if len(frames) > 1 else frames[0])

    def _clicked(self, content: dict) -> None:
        if content["type"] == "word":
            self.explorer.switch(content["index"])
        else:
            self.explorer.click(content["first"], content["tokens"], self.view.position)

    def _paint(self) -> None:
        head, word = (None if w.value == MEAN else w.value for w in (self.head, self.word))
        self.explorer.choice = Choice(self.mode.value, head, word)

    def _do(self, act: Callable, value: object = None) -> None:
        """Carry out a change of the user's and show it. What fails becomes a message, and the
        question is again what it was.
        """
        if self._quiet:
            return
        before = (self.explorer.ask, self.explorer.second, self.explorer.choice)
        try:
            act(value)
            self.show()
        except Exception as error:  # noqa: BLE001 - a message in the widget in place of a log
            self.explorer.ask, self.explorer.second, self.explorer.choice = before
            self.say(str(error) or type(error).__name__, is_error=True)
            self._follow()

    def show(self) -> None:
        """Answer what is asked and draw it."""
        explorer, first = self.explorer, not self.view.scene
        if not all(map(explorer.desk.is_known, explorer.asks())):
            self.say("asking the model … (the first time it is loaded)")
        scene = explorer.scene()
        self.view.scene = scene
        if first:
            self.view.position = max(scene["cuts"], default=0)  # where most is to be seen
        self.view.position = min(self.view.position, scene["positions"] - 1)
        self._follow()
        self.say(explorer.caution())

    def say(self, text: str, is_error: bool = False) -> None:
        """Put a line above the patches; it is read aloud by a screen reader."""
        colour, role = ("#b00020", "alert") if is_error else ("#555555", "status")
        self.message.value = f'<div role="{role}" style="color:{colour}">{escape(text)}</div>'

    def _share(self) -> None:
        self.say("writing …")
        try:
            self.say(f"written to {relative(self.explorer.share())}")
        except Exception as error:  # noqa: BLE001 - as above
            self.say(str(error), is_error=True)

    def _follow(self) -> None:
        """Set every widget to what the explorer has, without asking again."""
        explorer, ask, self._quiet = self.explorer, self.explorer.ask, True
        try:
            self.picture.value = explorer.desk.picture.name or OWN
            found = [("questions worth asking", "")] + [(q, q) for q in suggestions(explorer.desk)]
            _refill(self.hint, found, ask.question)
            self.question.value = ask.question
            is_variant = ask.method in VARIANTS.values()
            self.method.value = "sparsevlm" if is_variant else ask.method
            self.variant.value = ask.method if is_variant else "sparsevlm"
            self.variant.disabled = not is_variant
            self.tokens.value, self.tokens.disabled = ask.tokens or 1, ask.method == "dense"
            self.compare.value, self.second.value = explorer.compare, explorer.second
            self.second.layout.display = "flex" if explorer.compare == "question" else "none"
            self.release.disabled = ask.is_plain
            self._follow_attention()
        finally:
            self._quiet = False

    def _follow_attention(self) -> None:
        shown = self.explorer.choice.mode == "attention"
        for widget in (self.head, self.word):
            widget.layout.display = "flex" if shown else "none"
        if not self.explorer.desk.is_known(self.explorer.ask):
            return
        run = self.explorer.desk.answer(self.explorer.ask)
        choice = fitting(self.explorer.choice, run)
        heads = range(run.attention.num_heads if run.attention else 0)
        words = run.attention.words if run.attention else ()
        _refill(self.head, [("mean", MEAN), *((str(h), h) for h in heads)], choice.head)
        named = [("mean of the raters", MEAN), *((run.words[w], w) for w in words)]
        _refill(self.word, named, choice.word)
        self.mode.value = choice.mode


def _dropdown(name: str, options: list, width: str) -> widgets.Dropdown:
    return widgets.Dropdown(description=name, options=options, layout={"width": width})


def _text(name: str) -> widgets.Text:
    return widgets.Text(
        description=name, continuous_update=False, layout={"width": "720px"},
        placeholder="type a question and press Enter",
    )  # fmt: skip


def _refill(dropdown: widgets.Dropdown, options: list, value: object) -> None:
    """New options, and the value where it is among them, else the first."""
    if dropdown.options != tuple(options):
        dropdown.options = options
    known = [found for _, found in options]
    dropdown.value = value if value in known else known[0]
