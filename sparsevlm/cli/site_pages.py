"""The pages of the site as HTML. site.css, beside this file, is their look."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.evaluation.profiles import Profile
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims.claim import Entry, Ledger

if TYPE_CHECKING:
    from sparsevlm.cli.site import Exhibit

STYLE = Path(__file__).with_name("site.css")
PAPER = "https://arxiv.org/abs/2410.04417"
# Verdicts that share a colour: something agrees, something does not, nothing can be said.
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


def index(profile: Profile, exhibits: Sequence[Exhibit], ledger: Ledger) -> str:
    """Return the index page: every notebook with its figure, claim, verdicts and command."""
    parts = [_opening(profile, ledger)]
    left = list(exhibits)
    for title, prefix in GROUPS:
        group = [one for one in left if one.name.startswith(prefix)]
        left = [one for one in left if one not in group]
        if group:
            cards = "\n".join(_card(one, profile, ledger) for one in sorted(group, key=_order))
            parts.append(f'<h2>{title}</h2>\n<div class="cards">\n{cards}\n</div>')
    return _page("SparseVLM, reproduced", profile, "\n".join(parts))


def _order(exhibit: Exhibit) -> tuple:
    """Figure 2 before figure 11."""
    return tuple(int(part) if part.isdigit() else 0 for part in exhibit.name.split("_")), (
        exhibit.name
    )


def _opening(profile: Profile, ledger: Ledger) -> str:
    marker = f'<p class="marker">{escape(profile.marker)}</p>' if profile.marker else ""
    chips = "".join(
        f'<a class="chip {TONES.get(name, "open")}" href="claims.html">{count} {name}</a>'
        for name, count in ledger.on_miniature.items()
    )
    mini = f'<p class="chips">Directions: {chips}</p>' if chips else ""
    return (
        f'<p class="lead">Every table and figure of <a href="{PAPER}">SparseVLM</a> (ICML 2025), '
        f"one notebook each, on <b>{escape(profile.model)}</b>, and what came of "
        f'<a href="claims.html">{len(ledger.entries)} claims</a> of the paper.</p>'
        f'{marker}\n<div class="tally">{_tally(ledger.counts)}</div>{mini}'
    )


def _tally(counts: dict[str, int]) -> str:
    return "".join(
        f'<a href="claims.html" class="{TONES.get(name, "open")}"><b>{count}</b> {name}</a>'
        for name, count in counts.items()
    )


def _card(exhibit: Exhibit, profile: Profile, ledger: Ledger) -> str:
    title = escape(exhibit.title)
    if exhibit.executed:
        title = f'<a href="{exhibit.page}">{title}</a>'
    picture = _picture(exhibit)
    claim = f"<p>{_inline(exhibit.claim)}</p>" if exhibit.claim else ""
    falsifier = (
        f"<details><summary>What would falsify it</summary><p>{_inline(exhibit.falsifier)}</p>"
        "</details>"
        if exhibit.falsifier
        else ""
    )
    command = f"sparsevlm reproduce --only {exhibit.name}"
    if profile.name != "mini":
        command += f" --profile {profile.name}"
    return (
        f'<article id="{exhibit.name}">{picture}<div class="text"><h3>{title}</h3>{claim}'
        f"{_chips(ledger.of(exhibit.name), exhibit.name)}{falsifier}"
        f"{_links(exhibit)}<pre>{escape(command)}</pre></div></article>"
    )


def _picture(exhibit: Exhibit) -> str:
    if not exhibit.thumbnail:
        words = "no figure" if exhibit.executed else "not run yet"
        return f'<div class="picture none">{words}</div>'
    image = f'<img src="{exhibit.thumbnail}" alt="{escape(exhibit.title)}" loading="lazy">'
    target = exhibit.page if exhibit.executed else f"figures/{exhibit.figures[0]}"
    return f'<a class="picture" href="{target}">{image}</a>'


def _chips(entries: Sequence[Entry], notebook: str) -> str:
    """Verdicts of a notebook's sentences and orderings, with their number; cells are left out."""
    shown = [entry for entry in entries if not entry.claim.is_cell]
    names = [*claims.VERDICTS, *claims.ON_MINIATURE]
    chips = []
    for name in names:
        count = sum(name in (entry.verdict, entry.mini.verdict) for entry in shown)
        if count and name != claims.NOT_RUN:
            tone = TONES.get(name, "open")
            chips.append(f'<a class="chip {tone}" href="claims.html#{notebook}">{count} {name}</a>')
    return f'<p class="chips">{"".join(chips)}</p>' if chips else ""


def _links(exhibit: Exhibit) -> str:
    links = [f'<a href="{exhibit.page}">notebook</a>'] if exhibit.executed else []
    links += [f'<a href="figures/{name}">{_kind(exhibit, name)}</a>' for name in exhibit.files]
    return f'<p class="links">{" ".join(links)}</p>' if links else ""


def _kind(exhibit: Exhibit, name: str) -> str:
    rest = name.removeprefix(exhibit.name).lstrip("._")
    return escape(rest)


def _inline(markdown: str) -> str:
    """Bold, emphasis and code of a notebook's paragraph as HTML."""
    text = escape(markdown, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def _sections(ledger: Ledger) -> str:
    """Return the tables of the ledger, section by section."""
    sections = []
    for notebook in claims_page.notebooks_of(ledger):
        entries = ledger.of(notebook)
        title = escape(claims_page.TITLES.get(notebook, notebook))
        how = claims_page.command(notebook)
        again = f"<pre>{escape(how)}</pre>" if how else ""
        shown = [entry for entry in entries if not entry.claim.is_cell]
        cells = [entry for entry in entries if entry.claim.is_cell]
        table = _table(shown) if shown else ""
        folded = (
            f"<details><summary>{len(cells)} single cells</summary>{_table(cells)}</details>"
            if cells
            else ""
        )
        sections.append(
            f'<section id="{notebook}"><h2>{title}</h2>{again}{table}{folded}</section>'
        )
    return "\n".join(sections)


def _intro(ledger: Ledger) -> str:
    """Return what the verdicts mean, and which records are missing."""
    meaning = "".join(
        f'<tr><td><span class="chip {TONES.get(name, "open")}">{name}</span></td>'
        f"<td>{count}</td><td>{escape(claims_page.MEANING[name])}</td></tr>"
        for name, count in ledger.counts.items()
    )
    missing = "".join(
        f"<li><b>{name}</b>: {_inline(reason)}</li>" for name, reason in ledger.missing.items()
    )
    note = f"<p>No records at hand:</p><ul>{missing}</ul>" if missing else ""
    paragraphs = [*claims_page.INTRO.split("\n\n")[1:], claims_page.TOLERANCES]
    text = "".join(f"<p>{_inline(' '.join(part.split()))}</p>" for part in paragraphs)
    return f'{text}<table class="meaning">{meaning}</table>{note}'


def claims_html(profile: Profile, ledger: Ledger) -> str:
    """Return the page of all claims."""
    back = '<p class="lead"><a href="index.html">All notebooks</a></p>'
    return _page("Claims", profile, back + _intro(ledger) + _sections(ledger))


def _table(entries: Sequence[Entry]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in claims_page.HEAD)
    rows = "\n".join(_row(entry) for entry in entries)
    return f'<div class="wide"><table class="ledger"><tr>{head}</tr>\n{rows}</table></div>'


def _row(entry: Entry) -> str:
    claim = entry.claim
    mini = claims_page.finding(entry.mini, entry)
    tone = TONES.get(entry.mini.verdict, "")
    verdict = claims_page.verdict(entry).removeprefix(entry.verdict).lstrip(": ")
    chip = f'<span class="chip {TONES.get(entry.verdict, "open")}">{entry.verdict}</span>'
    cells = [
        f"<code>{escape(claim.id)}</code>",
        f"{escape(claim.statement)} <small>{escape(claim.place)}</small>",
        escape(claims_page.expected(entry)),
        escape(claims_page.obtained(entry)),
        f'<span class="{tone}">{escape(mini)}</span>',
        escape(claims_page.finding(entry.a100, entry)),
        f"{chip} <small>{escape(verdict)}</small>",
        f"<small>{escape(claim.falsified_by)}</small>",
    ]
    return f'<tr id="{escape(claim.id)}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _page(title: str, profile: Profile, body: str) -> str:
    footer = f"profile {profile.name}, made by <code>sparsevlm site</code>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        '<link rel="stylesheet" href="style.css"></head>\n'
        f'<body><main class="{title.split(",")[0].lower()}">'
        f"<h1>{escape(title)}</h1>\n{body}\n</main><footer>{footer}</footer></body></html>\n"
    )
