"""A place to read it: executed notebooks, figures and claims as static pages, without a server.

    artifacts/PROFILE/site/index.html           every notebook: figure, claim, verdicts, command
    artifacts/PROFILE/site/claims.html          the ledger
    artifacts/PROFILE/site/notebooks/NAME.html  the executed notebooks
    artifacts/PROFILE/site/figures/             pictures, vector files, data

Read next: site_pages.py (the pages).
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.evaluation.paths import ARTIFACTS, FIGURES
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.paper.notebooks import SOURCES, known_notebooks, source_cells

THUMBNAIL_WIDTH = 960  # pixels; two columns of cards on a screen of twice the usual density
SHOWN_FILES = (".pdf", ".png", ".svg", ".csv", ".md", ".html")


@dataclass(frozen=True)
class Exhibit:
    """One notebook on the index page.

    Attributes
    ----------
    name, title, claim, falsifier : str
        The notebook, its heading, and what it claims and would be falsified by, as Markdown.
    figures : tuple of str
        Names of its pictures, the first is the one on the index.
    files : tuple of str
        Names of everything in figures/ that is its own.
    executed : bool
        Whether there is an executed copy.
    """

    name: str
    title: str
    claim: str
    falsifier: str
    figures: tuple[str, ...]
    files: tuple[str, ...]
    executed: bool

    @property
    def page(self) -> str:
        """The executed notebook, from the index."""
        return f"notebooks/{self.name}.html"

    @property
    def thumbnail(self) -> str:
        """The picture on the index; "" where the notebook draws none."""
        return f"thumbnails/{self.figures[0]}" if self.figures else ""


def build(
    profile: Profile, artifacts: Path = ARTIFACTS, figures: Path = FIGURES, sources: Path = SOURCES
) -> Path:
    """Write the site of a profile and return its index page; an older one is replaced.

    Parameters
    ----------
    profile : Profile
        Whose executed notebooks are shown. Notebooks that have not been run are listed, and said
        to be missing.
    artifacts, figures, sources : Path
        Where executed notebooks, figures and notebook sources are.
    """
    from sparsevlm.cli import site_pages
    from sparsevlm.paper.claims.collect import collect

    source = artifacts / profile.name
    pictures = figures if profile.name == "mini" else figures / profile.name
    exhibits = [_exhibit(sources / f"{n}.py", source, pictures) for n in known_notebooks(sources)]
    site, new = source / "site", source / "site.partial"
    shutil.rmtree(new, ignore_errors=True)
    for exhibit in exhibits:
        _copy(exhibit, source, pictures, new)
    ledger = collect()
    write_text(new / "style.css", site_pages.STYLE.read_text(encoding="utf-8"))
    write_text(new / "index.html", site_pages.index(profile, exhibits, ledger))
    write_text(new / "claims.html", site_pages.claims_html(profile, ledger))
    shutil.rmtree(site, ignore_errors=True)
    new.rename(site)
    return site / "index.html"


def _exhibit(source: Path, artifacts: Path, pictures: Path) -> Exhibit:
    text = source.read_text(encoding="utf-8")
    intro = next((cell.text for cell in source_cells(text) if not cell.is_code), "")
    intro = re.sub(r"^# ?", "", intro, flags=re.MULTILINE)
    title = re.search(r"^# (.+)$", intro, re.MULTILINE)
    files = sorted(path.name for path in _own_files(source, pictures))
    return Exhibit(
        name=source.stem,
        title=title[1] if title else source.stem,
        claim=_paragraph(intro, "Claim.") or _first_paragraph(intro),
        falsifier=_paragraph(intro, "What would falsify it."),
        figures=tuple(name for name in files if name.endswith(".png")),
        files=tuple(files),
        executed=(artifacts / f"{source.stem}.html").is_file(),
    )


def _own_files(source: Path, pictures: Path) -> list[Path]:
    """Files called NAME.* or NAME_part.*, but not those of a notebook with a longer name."""
    name = source.stem
    longer = [n for n in known_notebooks(source.parent) if n.startswith(f"{name}_")]
    found = [*pictures.glob(f"{name}.*"), *pictures.glob(f"{name}_*")]
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


def _copy(exhibit: Exhibit, source: Path, pictures: Path, site: Path) -> None:
    for folder in ("notebooks", "figures", "thumbnails"):
        (site / folder).mkdir(parents=True, exist_ok=True)
    if exhibit.executed:
        shutil.copyfile(source / f"{exhibit.name}.html", site / exhibit.page)
    for name in exhibit.files:
        shutil.copyfile(pictures / name, site / "figures" / name)
    if exhibit.figures:
        _thumbnail(pictures / exhibit.figures[0], site / exhibit.thumbnail)


def _thumbnail(picture: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(picture) as image:
        image = image.convert("RGB")
        image.thumbnail((THUMBNAIL_WIDTH, 4 * THUMBNAIL_WIDTH), Image.Resampling.LANCZOS)
        image.save(target, optimize=True)
