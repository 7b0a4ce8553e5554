"""What a task of lmms-eval asks for, in the words of `generate`. Pure; needs no lmms-eval."""

from __future__ import annotations

from collections.abc import Sequence

# lmms-eval puts this stop string into every task that names none; long answers have paragraphs.
BLANKET = "\n\n"


def size_of(batch_size: int | str) -> int:
    """Return the size of a batch, which lmms-eval gives as a text.

    Raises
    ------
    ValueError
        It is no positive number; "auto" is not searched for.
    """
    if not str(batch_size).isdigit() or int(batch_size) < 1:
        raise ValueError(f"batch_size must be a positive number, got {batch_size!r}")
    return int(batch_size)


def generation_of(settings: dict) -> dict:
    """Return a task's settings as `generate` takes them: greedy unless it wants sampling.

    Where a task names no length it is 1024 tokens, as in lmms-eval's own `llava_hf`. Difference
    from that: a temperature samples only where the task does not say ``do_sample: false``, as
    MM-Vet's does.
    """
    temperature = settings.get("temperature") or 0
    chosen = {"max_new_tokens": settings.get("max_new_tokens", 1024)}
    chosen["num_beams"] = settings.get("num_beams", 1)
    if temperature > 0 and settings.get("do_sample", True):
        chosen |= {"do_sample": True, "temperature": temperature}
        chosen |= {"top_p": settings["top_p"]} if settings.get("top_p") else {}
    return chosen


def cut_at(text: str, until: str | Sequence[str] | None) -> str:
    """Return the text before the first stop string of the task, without blanks around it."""
    for stop in [until] if isinstance(until, str) else until or []:
        if stop and stop != BLANKET:
            text = text.split(stop)[0]
    return text.strip()
