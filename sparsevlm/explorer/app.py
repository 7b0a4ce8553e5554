"""The explorer as a widget. Every callback ends in an image or a message, never in a log."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from html import escape
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.evaluation.paths import relative
from sparsevlm.explorer.color_map import MODES, ColorChoice
from sparsevlm.explorer.lesson import LessonBar
from sparsevlm.explorer.share import zipped
from sparsevlm.explorer.state import ExplorerState
from sparsevlm.models.images import load_image

OWN = "own"
MEAN = -1  # a dropdown takes None for "nothing chosen"
VARIANTS = {
    "v1.5 (Table 1)": "sparsevlm", "all words rate": "sparsevlm-all-text",
    "paper": "sparsevlm-paper", "v1.0": "sparsevlm-v1.0", "video": "sparsevlm-video",
    "SparseVLM+": "sparsevlm-plus",
}  # fmt: skip
BASELINES = (
    "fastv", "pdrop", "tome", "divprune", "visionzip", "dart", "cdpruner-words", "holov",
    "vispruner", "random", "uniform", "dense",
)  # fmt: skip
COMPARE = {"nothing": "nothing", "a second question": "question", "the other methods": "methods"}
MODE_LABELS = ("the picture", "when it was lost", "score", "attention")


class Explorer(ExplorerState):
    """See why a patch was kept or dropped. Display it in a notebook, or take its `figure`."""

    @cached_property
    def controls(self) -> Controls:
        """The widgets; made when first shown. Behind bundled answers the model is then loaded."""
        made = Controls(self)
        if self.session.is_bundled:
            self.session.warm_up()
        return made

    def _repr_mimebundle_(self, **options: object) -> dict:
        return self.controls.box._repr_mimebundle_(**options)


class PatchView(anywidget.AnyWidget):
    """Panels of patches (`scene.scene`) with a layer slider (0 is the input), drawn in the browser.

    Messages from the browser: ``{"type": "patches", "first": token, "tokens": [...]}`` for a click
    or a dragged rectangle, ``{"type": "word", "index": i}`` for a word.
    """

    _esm = Path(__file__).with_name("patch_view.js")
    _css = Path(__file__).with_name("patch_view.css")
    scene = traitlets.Dict().tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)


class Controls:
    """Widgets of one explorer: they follow its state, and change it. `box` is all of them."""

    def __init__(self, state: ExplorerState) -> None:
        self.state, self._quiet = state, False
        self.view, self.message, self.lesson = PatchView(), widgets.HTML(), LessonBar()
        self._make()
        self._wire()
        self.box = widgets.VBox([
            self.lesson,
            widgets.HBox([self.question, self.second, self.go, self.hint]),
            self.message, self.view,
            widgets.HBox([widgets.Label("look at"), self.mode, self.word, self.head]),
            widgets.HBox([self.image, self.upload, self.method, self.variant, self.tokens]),
            widgets.HBox([self.compare, self.padding, self.release, self.share]),
        ])  # fmt: skip
        self.box.add_class("sv-controls")
        self.view.add_class("sv-view")
        self.show()

    def _make(self) -> None:
        samples = self.state.session.offered()
        self.image = _dropdown("image", [*samples, ("own image", OWN)], "15em")
        self.upload = widgets.FileUpload(
            accept="image/*", multiple=True, description="open image",
            tooltip="one image, or the frames of a video in the order of their names",
        )  # fmt: skip
        self.hint = _dropdown("", [], "13em")
        self.question, self.second = _text("question"), _text("and")
        self.go = widgets.Button(description="ask", button_style="primary")
        methods = [("SparseVLM", "sparsevlm"), *((METHOD_STYLE[m].label, m) for m in BASELINES)]
        self.method = _dropdown("method", methods, "12em")
        self.variant = _dropdown("variant", list(VARIANTS.items()), "13em")
        self.tokens = widgets.BoundedIntText(description="tokens", min=1, max=4096)
        self.compare = _dropdown("compare with", list(COMPARE.items()), "17em")
        self.mode = widgets.ToggleButtons(
            options=list(zip(MODE_LABELS, MODES, strict=True)),
            style={"button_width": "auto"},
        )  # fmt: skip
        self.head, self.word = _dropdown("head", [], "8em"), _dropdown("of", [], "13em")
        self.padding = widgets.Checkbox(description="show padding", indent=False)
        self.release = widgets.Button(description="undo my changes", icon="undo")
        self.share = widgets.Button(
            description="share", icon="download", tooltip="trace, session, figure and code, to send"
        )
        self.upload.add_class("sv-open")
        for button in (self.go, self.upload, self.release, self.share):
            button.layout.width = "auto"
        self.tokens.layout.width, self.padding.layout.width = "8.5em", "9em"

    def _wire(self) -> None:
        def on(widget: widgets.Widget, act: Callable) -> None:
            widget.observe(lambda change: self._do(act, change["new"]), "value")

        state = self.state
        on(self.image, lambda name: name != OWN and state.put(name))
        on(self.upload, self._open)
        on(self.hint, lambda text: text and state.change(question=text))
        on(self.question, lambda text: state.change(question=text))
        on(self.method, lambda name: state.change(method=name))
        on(self.variant, lambda name: state.change(method=name))
        on(self.tokens, lambda tokens: state.change(tokens=tokens))
        on(self.compare, lambda name: setattr(state, "compare", name))
        on(self.second, lambda text: setattr(state, "second", text))
        for widget in (self.mode, self.head, self.word):
            on(widget, lambda _: self._choose_colors())
        on(self.padding, lambda shown: setattr(state, "show_padding", shown))
        self.go.on_click(lambda _: self._do(lambda _: None))
        turn = partial(self.lesson.turn, state)
        self.lesson.back.on_click(lambda _: self._do(turn, -1))
        self.lesson.next.on_click(lambda _: self._do(turn, 1))
        self.release.on_click(lambda _: self._do(lambda _: state.release()))
        self.share.on_click(lambda _: self._share())
        self.view.on_msg(lambda _, content, buffers: self._do(self._clicked, content))

    def _open(self, files: tuple) -> None:
        if files:
            named = sorted(files, key=lambda file: file["name"])
            frames = [load_image(bytes(file["content"]), name=file["name"]) for file in named]
            self.state.put(frames if len(frames) > 1 else frames[0])

    def _clicked(self, content: dict) -> None:
        if content["type"] == "word":
            self.state.switch(content["index"])
        else:
            self.state.click(content["first"], content["tokens"], self.view.position)

    def _choose_colors(self) -> None:
        head, word = (None if w.value == MEAN else w.value for w in (self.head, self.word))
        self.state.choice = ColorChoice(self.mode.value, head, word)

    def _do(self, act: Callable, value: object = None) -> None:
        """Carry out a change of the user's and show it. What fails becomes a message, and the
        question is again what it was.
        """
        if self._quiet:
            return
        state = self.state
        before = (state.query, state.second, state.choice, state.compare)
        try:
            act(value)
            self.show()
        except Exception as error:  # noqa: BLE001 - a message in the widget in place of a log
            state.query, state.second, state.choice, state.compare = before
            self.say(str(error) or type(error).__name__, "alert")
            self._follow()

    def show(self) -> None:
        """Answer what is asked and draw it."""
        state, first = self.state, not self.view.scene
        if not all(map(state.session.is_known, state.queries())):
            self.say("Asking the model (the first time it is loaded) …")
        scene = state.scene()
        self.view.scene = scene
        if first:
            self.view.position = max(scene["stages"], default=0)  # where most is to be seen
        self.view.position = min(self.view.position, scene["positions"] - 1)
        self._follow()
        self.say(state.caution(), "warning", details=state.spelling()[1])

    def say(self, text: str, kind: str = "status", link: str = "", details: Sequence = ()) -> None:
        """Put a line above the patches; it is read aloud by a screen reader.

        `kind` is "status", "warning" or "alert", `link` is HTML that follows, and `details` are the
        words that the model knows.
        """
        role = "status" if kind == "status" else "alert"
        known = f"<details><summary>It knows {len(details)} words</summary>" if details else ""
        known += escape(", ".join(details)) + "</details>" if details else ""
        line = f'<div role="{role}" class="sv-{kind}">{escape(text)} {link}{known}</div>'
        self.message.value = line if text else ""
        self.message.layout.display = "flex" if text else "none"

    def _share(self) -> None:
        self.say("Writing …")
        try:
            folder = self.state.share()
            data = base64.b64encode(zipped(folder)).decode()
        except Exception as error:  # noqa: BLE001 - as above
            self.say(str(error), "alert")
            return
        name = f"{folder.name}.zip"
        link = f'<a download="{name}" href="data:application/zip;base64,{data}">Download {name}</a>'
        self.say(f"Written to {relative(folder)}.", link=link)

    def _follow(self) -> None:
        """Set every widget to what the state has, without asking again."""
        state, query, self._quiet = self.state, self.state.query, True
        try:
            offered = [name for _, name in self.image.options]
            name = state.session.image.name
            self.image.value = name if name in offered else OWN
            found = [("or choose one", ""), *((q, q) for q in state.suggestions())]
            _refill(self.hint, found, query.question)
            self.question.value = query.question
            is_variant = query.method in VARIANTS.values()
            self.method.value = "sparsevlm" if is_variant else query.method
            self.variant.value = query.method if is_variant else "sparsevlm"
            self.variant.disabled = not is_variant
            self.tokens.value, self.tokens.disabled = query.tokens or 1, query.method == "dense"
            self.compare.value, self.second.value = state.compare, state.second
            compares = state.compare == "question"
            self.second.layout.display = "flex" if compares else "none"
            self.hint.layout.display = "none" if compares else "flex"
            self.release.disabled = query.is_plain
            self._follow_attention()
            self.lesson.follow(state)
        finally:
            self._quiet = False

    def _follow_attention(self) -> None:
        state = self.state
        for widget in (self.head, self.word):
            widget.layout.display = "flex" if state.choice.mode == "attention" else "none"
        self.mode.value = state.choice.mode
        if not state.session.is_known(state.query):
            return
        found = state.session.answer(state.query)
        choice = state.choice.fitting(found)
        heads = range(found.attention.num_heads)
        _refill(self.head, [("mean", MEAN), *((str(h), h) for h in heads)], choice.head)
        words = ((f"{found.words[word]} ({word + 1})", word) for word in found.attention.words)
        named = [("the raters" if found.raters else "the last word", MEAN), *words]
        _refill(self.word, named, choice.word)


def _dropdown(name: str, options: list, width: str) -> widgets.Dropdown:
    return widgets.Dropdown(description=name, options=options, layout={"width": width})


def _text(name: str) -> widgets.Text:
    return widgets.Text(
        description=name, continuous_update=False, placeholder="type a question and press Enter"
    )


def _refill(dropdown: widgets.Dropdown, options: list, value: object) -> None:
    """New options, and the value where it is among them, else the first."""
    if dropdown.options != tuple(options):
        dropdown.options = options
    known = [found for _, found in options]
    dropdown.value = value if value in known else known[0]
