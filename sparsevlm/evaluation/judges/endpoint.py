"""A judge behind an OpenAI-compatible address: the paper's kind of judge, or a local server."""

from __future__ import annotations

import json
import os
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from sparsevlm.evaluation.judges.chat import ChatJudge, Keep
from sparsevlm.evaluation.judges.http import Patience, RefusedError, StoppedError, post, without
from sparsevlm.evaluation.judges.requests import JudgeError
from sparsevlm.evaluation.judges.transcripts import Messages, Reply

LOCAL = ("localhost", "127.0.0.1", "::1")
REFUSALS = 5  # so many in a row, with nothing answered before: the settings are wrong
MILLION = 1_000_000
FIXED = ("model", "messages", "temperature", "n", "stream")


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
    price_in, price_out : float, optional
        Of a million tokens, in any currency.
    temperature : float or None
        None leaves it to the server.
    options : mapping
        Further fields of the request, such as {"seed": 0}.
    limit_field : str
        What the server calls the longest reply: "max_tokens", or "max_completion_tokens".
    parallel : int
        Requests at a time.
    patience : Patience
        How long to go on trying.

    EvalBackend
    ------
    Video-LLaVA `eval_video_qa.py` (gpt-3.5-turbo) and MM-Vet's grading script (gpt-4-0613).
    Difference: temperature 0 where the first leaves it to the server, a limit on the reply where
    the first has none (64 tokens), 8 instead of 3 tokens for MM-Vet, and our wording by default.
    """

    model: str
    address: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    price_in: float | None = None
    price_out: float | None = None
    temperature: float | None = 0.0
    options: Mapping = field(default_factory=dict)
    limit_field: str = "max_tokens"
    parallel: int = 4
    patience: Patience = field(default_factory=Patience)

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
        if taken := sorted(set(self.options) & {*FIXED, self.limit_field}):
            raise ValueError(f"options must not hold {', '.join(taken)}, which are set elsewhere")
        object.__setattr__(self, "address", self.address.rstrip("/"))

    def asked(self) -> dict:
        """Return model, address and settings."""
        return {
            "kind": "endpoint",
            "model": self.model,
            "address": self.address,
            "temperature": self.temperature,
            self.limit_field: self.longest,
            "options": dict(self.options),
        }

    def price(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return what so many tokens cost; None where a price is not given."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / MILLION

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
        """Have all conversations answered, several at a time.

        Raises
        ------
        JudgeError
            The key is missing, the server refuses all, or does not answer in the end.
        """
        key, stop = self._key(), threading.Event()
        refused: dict[int, str] = {}
        answered, failure = 0, None
        with ThreadPoolExecutor(min(self.parallel, len(conversations))) as pool:
            work = {
                pool.submit(self._ask_one, i, messages, key, stop, keep): i
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
                        failure = failure or _all_refused(reason)
                        stop.set()
            finally:
                stop.set()
        if failure:
            raise failure
        return refused

    def _ask_one(
        self, index: int, messages: Messages, key: str, stop: threading.Event, keep: Keep
    ) -> str:
        """Keep the reply, and return ""; or return why there will be none."""
        body = {"model": self.model, "messages": list(messages), **self.options}
        body[self.limit_field] = self.longest
        if self.temperature is not None:
            body["temperature"] = self.temperature
        try:
            values = post(f"{self.address}/chat/completions", body, key, self.patience, stop)
            keep(index, _reply_of(values, key))
        except RefusedError as error:
            return f"refused: {error}"
        except BaseException:
            stop.set()  # here, before this thread takes up the next request
            raise
        return ""


def _all_refused(reason: str) -> JudgeError:
    return JudgeError(
        f"the judge's server refused the first {REFUSALS} requests; the last one is {reason}. "
        "Check the model's name and the options."
    )


def _reply_of(values: Mapping, key: str) -> Reply:
    """Return the reply in a server's answer; one without a text is a reply that cannot be read."""
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
    known = {name: value for name, value in details.items() if value is not None}
    text = text if isinstance(text, str) else ""
    text = text.encode("utf-8", "replace").decode()  # JSON can hold half a character, files cannot
    return Reply(without(key, text), json.loads(without(key, json.dumps(known))))
