"""What has to be said of the model that answered, notebook by notebook: NAME.md.j2 beside this.

A notebook's own text holds for every profile; what holds for a bundled miniature only is here, in
an `if profile.marker`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis.report import templates, title
from sparsevlm.analysis.study import Results

if TYPE_CHECKING:
    from IPython.display import Markdown

FOLDER = Path(__file__).parent


def text(name: str, results: Results) -> str:
    """Return the remarks of a notebook on its results, as Markdown."""
    template = templates(FOLDER).get_template(f"{name}.md.j2")
    return template.render(profile=results.profile, title=title(results)).strip()


def remarks(name: str, results: Results) -> Markdown:
    """Show the remarks of a notebook on its results."""
    from IPython.display import Markdown

    return Markdown(text(name, results))
