"""A real server that plays a judge: one that answers, is busy, slow, broken or gone."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from judge_parrot import row

from sparsevlm.evaluation.judges.client import RetryPolicy
from sparsevlm.evaluation.judges.endpoint import EndpointJudge
from sparsevlm.evaluation.judges.prompts import TASKS

KEY = "sk-test-0123456789abcdef"
GOOD = "{'pred': 'yes', 'score': 4}"
QUICK = RetryPolicy(tries=4, timeout_s=5.0, first_wait_s=0.01, longest_wait_s=0.05)


def said(text, **fields):
    """The answer of a chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    return {"model": "judge-2026", "choices": [choice], "usage": usage} | fields


def error(message, param=None, code=None):
    """The body of an error as OpenAI's servers send it."""
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def gpt_5(body):
    """Behaves like OpenAI's models that think: two fields are refused, a short limit is used up."""
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        )
        return "json", 400, error(text, "max_tokens", "unsupported_parameter"), {}
    if body.get("temperature", 1) != 1:
        text = (
            f"Unsupported value: 'temperature' does not support {body['temperature']:g} with this "
            "model. Only the default (1) value is supported."
        )
        return "json", 400, error(text, "temperature", "unsupported_value"), {}
    return _thinking(body["max_completion_tokens"], "", GOOD)


def deepseek_r1(body):
    """Behaves like an open model that thinks, behind a server that leaves its thoughts in."""
    thoughts = "<think>\nAs in {'pred': 'no', 'score': 1}, 0.1 of it?\n</think>\n\n"
    return _thinking(body["max_tokens"], thoughts, GOOD)


def _thinking(limit, thoughts, reply):
    if limit < 200:
        choice = {"message": {"content": thoughts[: 2 * limit]}, "finish_reason": "length"}
        return "json", 200, said("", choices=[choice]), {}
    return "json", 200, said(thoughts + reply), {}


def endpoint_judge(server, folder, **settings):
    """A judge behind the server that keeps its transcripts in a folder, with other settings."""
    settings = {
        "task": TASKS["tgif"], "folder": folder, "model": "judge", "address": server.address,
        "key_variable": "JUDGE_KEY", "retry": QUICK, "parallel": 1,
    } | settings  # fmt: skip
    return EndpointJudge(**settings)


class Server(ThreadingHTTPServer):
    """Plays a script: what to do with each request, then what to do with all others."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.otherwise = [], ("json", 200, said(GOOD), {})
        self.key = ""  # the only one that is let in; "" lets all in
        self.requests, self.lock = [], threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """Clients that go away are part of the play."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.requests.append(("GET", self.path, dict(self.headers), None))
        self.send_error(405)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(("POST", self.path, dict(self.headers), body))
            if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
                text = "Incorrect API key provided: sk-wrong. You can find your API key at [...]."
                action = "json", 401, error(text, code="invalid_api_key"), {}
            else:
                action = server.script.pop(0) if server.script else server.otherwise
        if callable(action):
            action = action(body)
        getattr(self, f"play_{action[0]}")(*action[1:])

    def play_json(self, status, values, headers):
        self.play_raw(status, json.dumps(values).encode(), headers)

    def play_raw(self, status, data, headers, promised=0, phrase=None):
        self.send_response(status, phrase)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(promised or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def play_reset(self):
        linger = struct.pack("ii", 1, 0)  # closing sends a reset in place of an end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def play_garbage(self):
        self.wfile.write(b"no HTTP at all\r\n")
        self.close_connection = True

    def play_slow(self, seconds):
        time.sleep(seconds)
        self.play_json(200, said(GOOD), {})


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    """Run a server on a free port of this machine; with a certificate it speaks TLS."""
    with Server() as running:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            running.socket = context.wrap_socket(running.socket, server_side=True)
            running.address = running.address.replace("http://", "https://")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def set_key(monkeypatch) -> None:
    """Put the key into the environment, no proxy between, and no certificate of one's own."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    proxies, certificates = ("http", "https", "all", "no"), ("ssl_cert_file", "ssl_cert_dir")
    for name in (*(f"{kind}_proxy" for kind in proxies), *certificates):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def rows(count):
    return [row(f"answer {i}", id=str(i), question=f"what is {i}?") for i in range(count)]
