"""A judge behind an OpenAI-compatible address: the paper's kind of judge, or a local server."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from sparsevlm.evaluation.judges import client as http
from sparsevlm.evaluation.judges.chat import ChatJudge, Keep, Messages, family_of
from sparsevlm.evaluation.judges.interface import JudgeError

# The paper's judges, snapshots of gpt-3.5-turbo and GPT-4, ended in October 2026; this is what
# their provider names in place of the first.
MODEL = "gpt-4.1-mini"
ADDRESS, KEY_VARIABLE = "https://api.openai.com/v1", "OPENAI_API_KEY"
REFUSALS = 5  # so many in a row, with nothing answered before: the settings are wrong


@dataclass(frozen=True, kw_only=True)
class EndpointJudge(ChatJudge):
    """Asks `POST address/chat/completions`.

    Attributes
    ----------
    model : str
        As the server names it; a dated snapshot where there is one, because an alias such as
        "gpt-3.5-turbo" changes what it points to. Who really answered is kept with every reply.
    address : str
        Up to and without "/chat/completions".
    key_variable : str
        Environment variable that holds the key; "" for a server without one. By default
        `KEY_VARIABLE`, and none for a server on this machine. The key itself is read when it is
        needed and never kept.
    options : mapping
        Further fields of the request; default: those of the model's family.
    limit_field : str
        What the server calls the longest reply: "max_tokens", or "max_completion_tokens"; default:
        as the model's family.
    parallel : int
        Requests at a time.
    retry : RetryPolicy
        How long to go on trying.

    Source
    ------
    Video-LLaVA `eval_video_qa.py` (gpt-3.5-turbo) and MM-Vet's grading script (gpt-4-0613).
    Difference: temperature 0 where the first leaves it to the server, a limit on the reply where
    the first has none (64 tokens), 8 instead of 3 tokens for MM-Vet, and our wording by default.
    """

    model: str = MODEL
    address: str = ADDRESS
    key_variable: str | None = None
    options: Mapping | None = None
    limit_field: str | None = None
    parallel: int = 4
    retry: http.RetryPolicy = field(default_factory=http.RetryPolicy)

    def __post_init__(self) -> None:
        family = family_of(self.model)
        for name in ("max_tokens", "options", "limit_field"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(family, name))
        super().__post_init__()
        parts = urllib.parse.urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a judge's address must start with https:// or http:// and a host")
        local = is_local(self.address)
        if self.key_variable is None:
            object.__setattr__(self, "key_variable", "" if local else KEY_VARIABLE)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "a judge's address must not hold a name, a password or a query, where a key could "
                f"hide; put the key into the environment variable {self.key_variable!r}"
            )
        if parts.scheme == "http" and self.key_variable and not local:
            raise ValueError(
                f"a key must not travel unencrypted to {parts.hostname}; use https, or "
                '--key-variable "" for a server that needs no key'
            )
        fixed = {"model", "messages", "n", "stream", self.limit_field}
        if taken := sorted(set(self.options) & fixed):
            raise ValueError(f"options must not hold {', '.join(taken)}, which are set elsewhere")
        object.__setattr__(self, "address", self.address.rstrip("/"))

    def asked(self) -> dict:
        return {
            "kind": "endpoint",
            "model": self.model,
            "address": self.address,
            self.limit_field: self.max_tokens,
            "options": dict(self.options),
        }

    def _key(self) -> str:
        if not self.key_variable:
            return ""
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise JudgeError(
                f"the judge at {self.address} needs a key: set the environment variable "
                f'{self.key_variable}, or name another with --key-variable ("" for no key)'
            )
        if not key.isascii() or not key.isprintable() or set(key) & set(' "\\'):
            raise JudgeError(
                f"{self.key_variable} holds blanks or signs that no key has; set it again"
            )
        return key

    def _without(self, name: str) -> str:
        """Return the option of the command line that leaves a field out of the request."""
        if name != self.limit_field:
            return f"--fields '{{\"{name}\": null}}'"
        other = {"max_tokens": "max_completion_tokens"}.get(name, "max_tokens")
        return f"--limit-field {other}, or another --max-tokens"

    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        refused: dict[int, str] = {}
        answered: list[int] = []
        settings = {**self.options, self.limit_field: self.max_tokens}

        def ask_one(client: http.Client, index: int) -> None:
            try:
                values = client.post(
                    {"model": self.model, "messages": list(conversations[index]), **settings}
                )
                said = json.dumps(_reply_of(values), ensure_ascii=False)
                said = said.encode("utf-8", "replace").decode()  # JSON can hold half a character
                keep(index, *json.loads(client.without_key(said)))
                answered.append(index)
            except http.RefusedError as error:
                refused[index] = f"refused: {error}"
                if error.field in settings:
                    client.stop.set()
                    raise JudgeError(
                        f"the judge's server does not take {error.field!r} ({error}); give "
                        f"{self._without(error.field)}"
                    ) from None
                if not answered and len(refused) >= REFUSALS:
                    client.stop.set()
                    raise JudgeError(
                        f"the judge's server refused the first {REFUSALS} requests, the last one "
                        f"with {error}; check the model's name, --max-tokens, --limit-field and "
                        "--fields"
                    ) from None
            except BaseException:
                client.stop.set()  # here, before this thread takes up the next request
                raise

        url, failure = f"{self.address}/chat/completions", None
        with (
            http.Client(url, self._key(), self.key_variable, self.retry) as client,
            ThreadPoolExecutor(min(self.parallel, len(conversations))) as pool,
        ):
            work = [pool.submit(ask_one, client, index) for index in range(len(conversations))]
            try:
                for done in as_completed(work):
                    if not isinstance(done.exception(), http.StoppedError):
                        failure = failure or done.exception()
            finally:
                client.stop.set()
        if failure:
            raise failure
        return refused


def is_local(address: str) -> bool:
    """Whether an address is of this machine, whose servers seldom want a key."""
    host = urllib.parse.urlsplit(address).hostname or ""
    return host in http.LOCAL or f"[{host}]" in http.LOCAL or host.startswith("127.")


def default_address() -> str:
    """Return the address in OPENAI_BASE_URL, as the provider's own client reads it, or OpenAI's."""
    return os.environ.get("OPENAI_BASE_URL", "").strip() or ADDRESS


def _reply_of(values: Mapping) -> tuple[str, dict]:
    """Return the text in a server's answer, "" where it has none, and what is worth keeping."""
    try:
        choice = values["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        choice, text = {}, None
    details = {
        "served_by": values.get("model"),
        "fingerprint": values.get("system_fingerprint"),
        "usage": values.get("usage"),
        "end": choice.get("finish_reason"),
    }
    text = text if isinstance(text, str) else ""
    return text, {name: value for name, value in details.items() if value is not None}
