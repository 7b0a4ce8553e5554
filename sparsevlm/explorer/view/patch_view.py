"""The drawing of the explorer in a browser: one anywidget, told everything by `panels.scene`."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class PatchView(anywidget.AnyWidget):
    """Panels of patches with a layer slider.

    Attributes
    ----------
    scene
        From `panels.scene`.
    position
        Of the layer slider; 0 is the input.

    Messages from the browser: ``{"type": "patches", "first": token, "tokens": [...]}`` for a click
    or a dragged rectangle, ``{"type": "word", "index": i}`` for a word.
    """

    _esm = _HERE / "patch_view.js"
    _css = _HERE / "patch_view.css"
    scene = traitlets.Dict().tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
