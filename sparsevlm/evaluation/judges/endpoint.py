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
        answered, failure = 0, None
        url = f"{self.address}/chat/completions"
        with (
            Client(url, self._key(), self.retry) as client,
            ThreadPoolExecutor(min(self.parallel, len(conversations))) as pool,
        ):
            work = {
                pool.submit(self._ask_one, i, messages, client, keep): i
                for i, messages in enumerate(conversations)
            }
            try:
                for done in as_completed(work):
                    if error := done.exception():
                        failure = failure if isinstance(error, StoppedError) else failure or error
                    elif reason := done.result():
                        refused[work[done]] = reason
                    else:
                        answered += 1
                    if not answered and len(refused) >= REFUSALS:
                        failure = failure or JudgeError(
                            f"the judge's server refused the first {REFUSALS} requests; the last "
                            f"one is {reason}. Check the model's name and the options."
                        )
                        client.stop.set()
            finally:
                client.stop.set()
        if failure:
            raise failure
        return refused

    def _ask_one(self, index: int, messages: Messages, client: Client, keep: Keep) -> str:
        """Keep the reply, and return ""; or return why there will be none."""
        body = {"model": self.model, "messages": list(messages), **self.options}
        try:
            values = client.post({**body, self.limit_field: self.max_tokens})
            text, details = _reply_of(values)
            details = json.loads(client.without_key(json.dumps(details)))
            keep(index, client.without_key(text), details)
        except RefusedError as error:
            return f"refused: {error}"
        except BaseException:
            client.stop.set()  # here, before this thread takes up the next request
            raise
        return ""


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
    # JSON can hold half a character, files cannot.
    text = text.encode("utf-8", "replace").decode()
    return text, {name: value for name, value in details.items() if value is not None}
