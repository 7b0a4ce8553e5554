"""One request to a server that may be busy, slow, broken or gone; no key ever leaves in a text."""

from __future__ import annotations

import email.utils
import http.client
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from sparsevlm.evaluation.judges.requests import JudgeError

log = logging.getLogger(__name__)

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # may work later
OF_THIS_REQUEST = {400, 413, 422}  # another request may work
SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # a 429 that waiting does not cure
LARGEST = 10_000_000  # bytes of an answer
EXCERPT = 300  # characters of a server's answer that a message shows


class RefusedError(RuntimeError):
    """The server will not answer this one request; the message says why."""


class StoppedError(JudgeError):
    """Another request failed, so this one is not sent."""


class _PassingError(Exception):
    """This may work later."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(self, *args):
        return None


@dataclass(frozen=True)
class Patience:
    """How long to go on trying.

    Attributes
    ----------
    tries : int
        Of one request.
    timeout_s : float
        Without a byte from the server, in seconds.
    first_wait_s, longest_wait_s : float
        Between two tries: the first, doubled each time, up to the longest, with up to a quarter
        more by chance so that parallel requests do not return together. Where the server says how
        long (Retry-After), that; more than the longest ends the run.
    """

    tries: int = 8
    timeout_s: float = 120.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0

    def __post_init__(self) -> None:
        if self.tries < 1 or self.timeout_s <= 0 or not 0 <= self.first_wait_s:
            raise ValueError(f"tries and timeout_s must be positive, waits not negative: {self}")

    def wait_s(self, tries: int, asked: float | None) -> float:
        """Return how long to wait after `tries` failures."""
        if asked is not None:
            return asked
        doubled = min(self.first_wait_s * 2 ** (tries - 1), self.longest_wait_s)
        return doubled * random.uniform(1.0, 1.25)


def without(secret: str, text: str) -> str:
    """Return `text` with the secret blotted out."""
    return text.replace(secret, "[key]") if secret else text


def post(url: str, body: dict, key: str, patience: Patience, stop: threading.Event) -> dict:
    """Send `body` as JSON and return the JSON object that comes back, trying as often as allowed.

    Parameters
    ----------
    url : str
        Where to; a redirect is not followed.
    body : dict
        JSON values.
    key : str
        Sent as a bearer token; "" for none.
    patience : Patience
        How long to go on.
    stop : Event
        Once it is set, nothing more is sent.

    Raises
    ------
    RefusedError
        The server refuses this request (400, 413, 422).
    JudgeError
        It refuses all, does not answer in the end, or `stop` is set.
    """
    for tries in range(1, patience.tries + 1):
        if stop.is_set():
            raise StoppedError("judging was stopped")
        try:
            return _post_once(url, body, key, patience.timeout_s)
        except _PassingError as error:
            reason, wait_s = str(error), patience.wait_s(tries, error.wait_s)
        if wait_s > patience.longest_wait_s * 1.25:
            raise JudgeError(
                f"the judge's server asks to wait {wait_s:.0f} s ({reason}). What it said so far "
                "is kept; run the same command again then."
            )
        if tries < patience.tries:
            log.warning("judge: %s; try %d in %.1f s", reason, tries + 1, wait_s)
            stop.wait(wait_s)
    raise JudgeError(
        f"the judge's server did not answer in {patience.tries} tries ({reason}). What it said so "
        "far is kept; run the same command again later, or with fewer requests at a time."
    )


def _post_once(url: str, body: dict, key: str, timeout_s: float) -> dict:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    try:  # from None below: the exceptions of the library hold the request and with it the key
        with opener.open(request, timeout=timeout_s) as answer:
            values = json.loads(answer.read(LARGEST))
    except urllib.error.HTTPError as error:
        raise _failure(error, key) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _PassingError(without(key, f"no answer: {reason!r}")) from None
    except ValueError:
        raise _PassingError("the answer is not JSON") from None
    if not isinstance(values, dict):
        raise _PassingError("the answer is no JSON object")
    return values


def _failure(error: urllib.error.HTTPError, key: str) -> Exception:
    """Return the exception for an HTTP status; it never holds the key."""
    try:
        text = error.read(10_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    shown = without(key, f"HTTP {error.code}: {' '.join(text.split()) or error.reason}")[:EXCERPT]
    if error.code in OF_THIS_REQUEST:
        return RefusedError(shown)
    if error.code in PASSING and not any(word in text for word in SPENT):
        return _PassingError(shown, _retry_after_s(error.headers.get("Retry-After")))
    return JudgeError(
        f"the judge's server refuses: {shown}. Check its address, the model's name, the key and "
        "the account. What it said so far is kept."
    )


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
