"""A judge behind an OpenAI-compatible address: the paper's kind of judge, or a local server."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from sparsevlm.evaluation.judges.chat import ChatJudge, Keep, Messages
from sparsevlm.evaluation.judges.client import Client, RefusedError, RetryPolicy, StoppedError
from sparsevlm.evaluation.judges.interface import JudgeError

LOCAL = ("localhost", "127.0.0.1", "::1")
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
        Environment variable that holds the key; "" for a server without one. The key itself is
        read when it is needed and never kept.
    options : mapping
        Further fields of the request; default {"temperature": 0.0}.
    limit_field : str
        What the server calls the longest reply: "max_tokens", or "max_completion_tokens".
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

    model: str
    address: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    options: Mapping = field(default_factory=lambda: {"temperature": 0.0})
    limit_field: str = "max_tokens"
    parallel: int = 4
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = urllib.parse.urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a judge's address must start with https:// or http:// and a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "a judge's address must not hold a name, a password or a query, where a key could "
                f"hide; put the key into the environment variable {self.key_variable!r}"
            )
        if parts.scheme == "http" and self.key_variable and parts.hostname not in LOCAL:
            raise ValueError(
                f"a key must not travel unencrypted to {parts.hostname}; use https, or "
                'key_variable="" for a server that needs no key'
            )
        if self.parallel < 1:
            raise ValueError(f"parallel must be at least 1, got {self.parallel}")
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
                f"the judge's key is missing: set the environment variable {self.key_variable}"
            )
        if not key.isascii() or not key.isprintable() or set(key) & set(' "\\'):
            raise JudgeError(
                f"{self.key_variable} holds blanks or signs that no key has; set it again"
            )
        return key

    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        refused: dict[int, str] = {}
        answered: list[int] = []
        fixed = {"model": self.model, **self.options, self.limit_field: self.max_tokens}

        def ask_one(client: Client, index: int) -> None:
            try:
                values = client.post({"messages": list(conversations[index]), **fixed})
                said = json.dumps(_reply_of(values), ensure_ascii=False)
                said = said.encode("utf-8", "replace").decode()  # JSON can hold half a character
                keep(index, *json.loads(client.without_key(said)))
                answered.append(index)
            except RefusedError as error:
                refused[index] = f"refused: {error}"
                if not answered and len(refused) >= REFUSALS:
                    client.stop.set()
                    raise JudgeError(
                        f"the judge's server refused the first {REFUSALS} requests; the last one "
                        f"is {refused[index]}. Check the model's name and the options."
                    ) from None
            except BaseException:
                client.stop.set()  # here, before this thread takes up the next request
                raise

        url, failure = f"{self.address}/chat/completions", None
        with (
            Client(url, self._key(), self.retry) as client,
            ThreadPoolExecutor(min(self.parallel, len(conversations))) as pool,
        ):
            work = [pool.submit(ask_one, client, index) for index in range(len(conversations))]
            try:
                for done in as_completed(work):
                    if not isinstance(done.exception(), StoppedError):
                        failure = failure or done.exception()
            finally:
                client.stop.set()
        if failure:
            raise failure
        return refused


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
