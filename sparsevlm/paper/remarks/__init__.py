"""What has to be said of the model that answered, notebook by notebook: NAME.md.j2 beside this.

A notebook's own text holds for every profile; what holds for a bundled miniature only is here, in
an `if miniature`, and what holds for the examples that come with a figure in an `if not own`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from IPython.display import Markdown

from sparsevlm.analysis.report import templates, title
from sparsevlm.analysis.study import Results
from sparsevlm.miniature.registry import marker_of
from sparsevlm.paper.page import Page

FOLDER = Path(__file__).parent


def text(name: str, of: Results | Page) -> str:
    """Return the remarks of a notebook on its results, or on its examples, as Markdown."""
    template = templates(FOLDER).get_template(f"{name}.md.j2")
    about = {"miniature": bool(marker_of(of.profile.model))}
    about["measured"] = partial(_measured, about["miniature"])
    if isinstance(of, Results):
        about["title"] = title(of)
    else:
        about["own"] = bool(of.parameters["image"] or of.parameters["question"])
    return template.render(about).strip()


def _measured(miniature: bool, what: str) -> str:
    """The line that says what the numbers of a notebook are of."""
    end = ": evidence about the methods, and no reproduction of the paper's\nnumbers."
    return f"**What was measured.** {what}{end if miniature else '.'}"


def remarks(name: str, of: Results | Page) -> Markdown:
    """Show the remarks of a notebook on its results or examples."""
    return Markdown(text(name, of))
