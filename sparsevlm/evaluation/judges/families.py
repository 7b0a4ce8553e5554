"""What families of judge models want in a request, known by the name of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

THINKING_TOKENS = 4096  # of a reply with the thoughts before it


@dataclass(frozen=True)
class Family:
    """How the models of a family are asked, where nothing else is said.

    Attributes
    ----------
    max_tokens : int or None
        Of a reply, thoughts included; None for what the task needs.
    limit_field : str
        The field of a request that holds it.
    options : mapping
        Further fields of a request.
    """

    max_tokens: int | None = None
    limit_field: str = "max_tokens"
    options: Mapping = field(default_factory=lambda: {"temperature": 0.0})


# The first whose pattern begins the name; a model that thinks needs room for its thoughts.
_FAMILIES = {
    r"gpt-[5-9]|o\d\b": Family(THINKING_TOKENS, "max_completion_tokens", {}),
    r"gpt-oss|qwq|qwen3(?!.*(instruct|coder))|deepseek-r|magistral|.*(thinking|reason|-r1\b)":
        Family(THINKING_TOKENS),
}  # fmt: skip


def family_of(model: str) -> Family:
    """Return the family of a model by its name, whatever provider or folder stands before it."""
    name = model.rstrip("/").rpartition("/")[2].lower()
    return next((f for pattern, f in _FAMILIES.items() if re.match(pattern, name)), Family())
