"""The words and tables of a model card, from the facts that `card` has measured."""

from __future__ import annotations

from collections.abc import Iterable

_AS_IT_IS = (
    "name", "layers", "seed", "processes", "commit", "torch", "processor", "card_seed",
)  # fmt: skip


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def table(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    return "\n".join([_row(head), "|" + "---|" * len(head), *map(_row, rows)])


def accuracy_table(entries: Iterable[dict]) -> str:
    """One line per benchmark; behind each kind of question how many of it were asked."""
    rows = []
    for entry in entries:
        kinds = ", ".join(
            f"{kind or 'all'} {value:.1%} ({entry['split_questions'][kind]})"
            for kind, value in entry["splits"].items()
        )
        score = f"{entry['score']:.1f} {entry['unit']}"
        rows.append((entry["label"], entry["questions"], score, f"{entry['accuracy']:.1%}", kinds))
    return table(["benchmark", "questions", "score", "accuracy", "by kind"], rows)


def stage_table(stages: Iterable[dict]) -> str:
    """One line per stage: how much it saw, and how fast."""
    head = ["stage", "steps", "images per step", "patches per side", "minutes",
            "images per second"]  # fmt: skip
    rows = []
    for s in stages:
        speed = s["steps"] * s["batch"] / s["seconds"] if s["seconds"] else float("nan")
        minutes = f"{s['seconds'] / 60:.1f}"
        rows.append((s["name"], s["steps"], s["batch"], s["grid"], minutes, f"{speed:.1f}"))
    return table(head, rows)


def probe_table(probes: dict) -> str:
    """One column per layer (`probes`)."""
    attention, without = probes["attention"], probes["without_image_from"]
    layers = range(len(attention["naming word"]))
    rows = [
        ("naming word on its object", *(f"{v:.2f}" for v in attention["naming word"])),
        ("last token on the object", *(f"{v:.2f}" for v in attention["last token"])),
        ("right without the image from here on", *(f"{without[layer]:.0%}" for layer in layers)),
    ]
    return table(["layer", *map(str, layers)], rows)


def fill(template: str, facts: dict) -> str:
    """The card: every ``{key}`` of the template replaced."""
    probes = facts["probes"]
    values = {
        **{key: str(facts[key]) for key in _AS_IT_IS},
        "parameters": f"{facts['parameters'] / 1e6:.2f} million",
        "minutes": f"{sum(s['seconds'] for s in facts['recipe']) / 60:.0f}",
        "accuracies": accuracy_table(facts["accuracies"].values()),
        "stages": stage_table(facts["recipe"]),
        "area": f"{probes['attention']['area'][0]:.1%}",
        "untouched": f"{probes['without_image_from'][-1]:.0%}",
        "probe_scenes": str(probes["scenes"]),
        "probes": probe_table(probes),
    }
    for key, value in values.items():
        template = template.replace("{" + key + "}", value)
    return template
