"""The site: executed notebooks, figures and claims as static pages, without a server.

    artifacts/PROFILE/site/index.html           every notebook: figure, claim, verdicts, command
    artifacts/PROFILE/site/claims.html          all claims
    artifacts/PROFILE/site/notebooks/NAME.html  the executed notebooks
    artifacts/PROFILE/site/figures/             images, vector files, data

The pages are templates/*.html.j2; site.css is their look.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from PIL.Image import Resampling

from sparsevlm.analysis.report import templates
from sparsevlm.evaluation.paths import ARTIFACTS, FIGURES
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.models.atomic import write_text
from sparsevlm.models.images import load_image
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims.claim import ClaimReport
from sparsevlm.paper.notebooks import SOURCES, known_notebooks, source_cells

HERE = Path(__file__).parent
PAPER = "https://arxiv.org/abs/2410.04417"
THUMBNAIL_WIDTH = 960  # pixels; two columns of cards on a screen of twice the usual density
SHOWN_FILES = (".pdf", ".png", ".svg", ".csv", ".tex", ".html")
# Verdicts that share a color: something agrees, something does not, nothing can be said.
TONES = {
    claims.REPRODUCED: "good",
    claims.WITHIN: "good",
    claims.CONSISTENT: "good",
    claims.HOLDS: "good",
    claims.DEVIATES: "bad",
    claims.SLIP: "odd",
    claims.HOLDS_NOT: "bad",
}
GROUPS = (("Figures", "figure_"), ("Tables", "table_"), ("Beyond the paper", ""))


@dataclass(frozen=True)
class NotebookCard:
    """One notebook on the index page: its heading, and what it claims, as Markdown.

    `files` names everything in figures/ that is its own.
    """

    name: str
    title: str
    claim: str
    falsifier: str
    files: tuple[str, ...]
    executed: bool

    @property
    def page(self) -> str:
        """The executed notebook, from the index."""
        return f"notebooks/{self.name}.html"

    @property
    def image(self) -> str:
        """The file that is shown on the index; "" where the notebook draws none."""
        return next((name for name in self.files if name.endswith(".png")), "")

    @property
    def order(self) -> tuple:
        """Sorts Figure 2 before Figure 11."""
        return [int(p) if p.isdigit() else 0 for p in self.name.split("_")], self.name

    def verdicts(self, report: ClaimReport) -> dict[str, int]:
        """Verdicts of its sentences and orderings, with their number; table cells are left out."""
        entries = [entry for entry in report.of(self.name) if not entry.claim.is_cell]
        names = [*claims.VERDICTS, *claims.ON_MINIATURE]
        counts = {n: sum(n in (e.verdict, e.mini.verdict) for e in entries) for n in names}
        return {n: count for n, count in counts.items() if count and n != claims.NOT_RUN}


def build(
    profile: Profile, artifacts: Path = ARTIFACTS, figures: Path = FIGURES, sources: Path = SOURCES
) -> Path:
    """Write the site of a profile and return its index page; an older one is replaced.

    Notebooks that have not been run are listed, and said to be missing.
    """
    from sparsevlm.paper.claims.collect import collect

    source = artifacts / profile.slug
    figures = figures / profile.slug
    cards = [card(sources / f"{name}.py", source, figures) for name in known_notebooks(sources)]
    site, new = source / "site", source / "site.partial"
    shutil.rmtree(new, ignore_errors=True)
    for one in cards:
        _copy(one, source, figures, new)
    report = collect()
    write_text(new / "style.css", (HERE / "site.css").read_text(encoding="utf-8"))
    write_text(new / "index.html", index_page(profile, cards, report))
    write_text(new / "claims.html", claims_html(profile, report))
    shutil.rmtree(site, ignore_errors=True)
    new.rename(site)
    return site / "index.html"


def index_page(profile: Profile, cards: Sequence[NotebookCard], report: ClaimReport) -> str:
    """Return the index page: every notebook with its figure, claim, verdicts and command."""
    groups, left = [], sorted(cards, key=lambda one: one.order)
    for title, prefix in GROUPS:
        groups.append((title, [one for one in left if one.name.startswith(prefix)]))
        left = [one for one in left if not one.name.startswith(prefix)]
    page = _templates().get_template("index.html.j2")
    return page.render(profile=profile, report=report, groups=groups, PAPER=PAPER)


def claims_html(profile: Profile, report: ClaimReport) -> str:
    """Return the page of all claims."""
    known = templates(claims_page.TEMPLATES)
    texts = [known.get_template(f"{name}.md.j2").render() for name in ("intro", "tolerances")]
    page = _templates().get_template("claims.html.j2")
    return page.render(
        profile=profile, report=report, format=claims_page, HEAD=claims_page.HEAD,
        paragraphs=[part for text in texts for part in text.split("\n\n")][1:],
        sections=claims_page.sections_of(report),
    )  # fmt: skip


def _templates() -> Environment:
    known = templates(HERE / "templates")
    known.globals["tone"] = lambda verdict, other="open": TONES.get(verdict, other)
    return known


def card(source: Path, artifacts: Path, figures: Path) -> NotebookCard:
    """Return what the index says of a notebook, from its source and its files."""
    cells = source_cells(source.read_text(encoding="utf-8"))
    intro = next((cell.text for cell in cells if not cell.is_code), "")
    intro = re.sub(r"^# ?", "", intro, flags=re.MULTILINE)
    title = re.search(r"^# (.+)$", intro, re.MULTILINE)
    return NotebookCard(
        name=source.stem,
        title=title[1] if title else source.stem,
        claim=_paragraph(intro, "Claim.") or _first_paragraph(intro),
        falsifier=_paragraph(intro, "What would falsify it."),
        files=tuple(sorted(path.name for path in _own_files(source, figures))),
        executed=(artifacts / f"{source.stem}.html").is_file(),
    )


def _own_files(source: Path, figures: Path) -> list[Path]:
    """Files called NAME.* or NAME_part.*, but not those of a notebook with a longer name."""
    name = source.stem
    longer = [n for n in known_notebooks(source.parent) if n.startswith(f"{name}_")]
    found = [*figures.glob(f"{name}.*"), *figures.glob(f"{name}_*")]
    return [
        path
        for path in found
        if path.suffix in SHOWN_FILES
        and ".partial" not in path.name
        and not any(path.name.startswith((f"{other}.", f"{other}_")) for other in longer)
    ]


def _paragraph(intro: str, lead: str) -> str:
    """The paragraph that starts with these words in bold, without them; "" where there is none."""
    found = re.search(rf"^\*\*{re.escape(lead)}\*\*\s*(.+?)(?:\n\s*\n|\Z)", intro, re.M | re.S)
    return " ".join(found[1].split()) if found else ""


def _first_paragraph(intro: str) -> str:
    """What follows the heading, of a notebook that claims nothing."""
    paragraphs = [part for part in intro.split("\n\n") if not part.startswith(("#", "**"))]
    return " ".join(paragraphs[0].split()) if paragraphs else ""


def _copy(one: NotebookCard, source: Path, figures: Path, site: Path) -> None:
    for folder in ("notebooks", "figures", "thumbnails"):
        (site / folder).mkdir(parents=True, exist_ok=True)
    if one.executed:
        text = (source / f"{one.name}.html").read_text(encoding="utf-8")
        # Links to the index and the claims go above it, and its tables become scrollable.
        bar = _templates().get_template("way_back.html.j2").render(name=one.name)
        head = re.search(r"<body[^>]*>", text)
        write_text(site / one.page, f"{text[: head.end()]}\n{bar}{text[head.end() :]}")
    for name in one.files:
        shutil.copyfile(figures / name, site / "figures" / name)
    if one.image:
        image = load_image(figures / one.image)
        image.thumbnail((THUMBNAIL_WIDTH, 4 * THUMBNAIL_WIDTH), Resampling.LANCZOS)
        image.save(site / "thumbnails" / one.image, optimize=True)
