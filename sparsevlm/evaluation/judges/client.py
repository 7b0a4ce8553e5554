"""Requests to a server that may be busy, slow, broken or gone; no message ever contains the key."""

from __future__ import annotations

import email.utils
import json
import logging
import random
import re
import threading
import time
from dataclasses import dataclass

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from sparsevlm.evaluation.judges.interface import JudgeError

log = logging.getLogger(__name__)

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # may work later
OF_THIS_REQUEST = {400, 413, 422}  # another request may work
OF_THE_KEY = {401, 403}
LOCAL = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # a 429 that waiting does not cure
EXCERPT = 300  # characters of a server's answer that a message shows
KEPT = "What it said so far is kept"


class RefusedError(RuntimeError):
    """The server will not answer this one request; the message says why.

    `field` is the one of the request that the server does not take; "" where it names none.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.field = field


class StoppedError(JudgeError):
    """Another request failed, so this one is not sent."""


class _PassingError(Exception):
    """This may work later; after `wait_s` seconds where the server says so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class RetryPolicy:
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

    def wait_s(self, state) -> float:
        """Return how long to wait after a failure, which tenacity describes by `state`."""
        asked = state.outcome.exception().wait_s
        doubled = wait_exponential(self.first_wait_s, self.longest_wait_s)(state)
        return doubled * random.uniform(1.0, 1.25) if asked is None else asked


class Client:
    """Posts JSON to one address; a context manager, for any number of threads.

    Parameters
    ----------
    url : str
        Where to; a redirect is not followed, because the key would be sent along. The proxies and
        certificates that the environment names are used; for this machine itself, no proxy.
    key, key_name : str
        Sent as a bearer token, "" for none; and the environment variable that it comes from.

    Attributes
    ----------
    stop : Event
        Once it is set, nothing more is sent.
    """

    def __init__(self, url: str, key: str, key_name: str, policy: RetryPolicy) -> None:
        for name in ("httpx", "httpcore"):  # they log what a server says, which can be the key
            logging.getLogger(name).setLevel(logging.WARNING)
        self.stop = threading.Event()
        self._url, self._key, self._key_name, self._policy = url, key, key_name, policy
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        direct = dict.fromkeys(f"all://{host}" for host in LOCAL)
        try:
            self._http = httpx.Client(headers=headers, timeout=policy.timeout_s, mounts=direct)
        except (ImportError, ValueError, OSError) as error:
            raise JudgeError(
                f"the proxy or certificate of the environment cannot be used: {error}"
            ) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def without_key(self, text: str) -> str:
        """Return `text` with the key removed."""
        return text.replace(self._key, "[key]") if self._key else text

    def post(self, body: dict) -> dict:
        """Send JSON and return the JSON object that comes back, trying as often as allowed.

        Raises
        ------
        RefusedError
            The server refuses this request (400, 413, 422).
        JudgeError
            It refuses all, does not answer in the end, or `stop` is set.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(self._policy.tries),
            wait=self._policy.wait_s,
            sleep=self.stop.wait,
            before_sleep=_log,
            reraise=True,
        )
        try:
            return retrying(self._post_once, json.dumps(body))
        except _PassingError as error:
            raise JudgeError(
                f"the judge's server did not answer in {self._policy.tries} tries ({error}). "
                f"{KEPT}; run the same command again later, or with fewer requests at a time."
            ) from None

    def _post_once(self, content: str) -> dict:
        if self.stop.is_set():
            raise StoppedError("judging was stopped")
        try:  # from None below: the exceptions of the library hold the request and with it the key
            answer = self._http.post(self._url, content=content)
        except httpx.HTTPError as error:
            reason = self.without_key(f"no answer: {type(error).__name__}: {error}")
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                raise JudgeError(
                    f"the certificate of the judge's server cannot be verified ({reason}). {KEPT}; "
                    "a certificate of your own is read from the file that SSL_CERT_FILE names."
                ) from None
            raise _PassingError(reason) from None
        if not answer.is_success:
            raise self._failure(answer, json.loads(content))
        try:
            values = answer.json()
        except ValueError:
            raise _PassingError("the answer is not JSON") from None
        if not isinstance(values, dict):
            raise _PassingError("the answer is no JSON object")
        return values

    def _failure(self, answer, body: dict) -> Exception:
        """Return the exception for an HTTP status; it never holds the key."""
        code, text = answer.status_code, answer.text
        message, field = _error_of(text)
        said = f"HTTP {code}: {' '.join(message.split()) or answer.reason_phrase}"
        shown = self.without_key(said)[:EXCERPT]
        if code in OF_THIS_REQUEST:
            if field not in body and re.search("unsupported|not support|unrecogni", message, re.I):
                field = next((name for name in body if name in message), "")
            return RefusedError(shown, field if field in body else "")
        if code in OF_THE_KEY:
            wrong = (
                f"refuses the key in {self._key_name} ({shown}); put the right one there"
                if self._key
                else f"wants a key ({shown}); name the variable that holds it with --key-variable"
            )
            return JudgeError(
                f"the judge's server {wrong} and give the same command again, which goes on from "
                "what is kept"
            )
        if code not in PASSING or any(word in text for word in SPENT):
            return JudgeError(
                f"the judge's server refuses: {shown}; check its address, the model's name and the "
                "account, and give the same command again, which goes on from what is kept"
            )
        wait_s = _retry_after_s(answer.headers.get("Retry-After"))
        if wait_s is not None and wait_s > self._policy.longest_wait_s * 1.25:
            return JudgeError(
                f"the judge's server asks to wait {wait_s:.0f} s ({shown}). {KEPT}; run the same "
                "command again then."
            )
        return _PassingError(shown, wait_s)


def _error_of(text: str) -> tuple[str, str]:
    """Return what a server says is wrong, and the field of the request that it blames, or ""."""
    try:
        values = json.loads(text)
        error = values.get("error") or values
        if isinstance(error, str):
            return error, ""
        said = error.get("message") or error.get("detail") or text
        return said if isinstance(said, str) else json.dumps(said), str(error.get("param") or "")
    except (ValueError, AttributeError):
        return text, ""


def _log(state) -> None:
    reason, number = state.outcome.exception(), state.attempt_number + 1
    log.warning("judge: %s; try %d in %.1f s", reason, number, state.next_action.sleep)


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date."""
    try:
        if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, AttributeError):
        return None
