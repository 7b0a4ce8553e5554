"""Chromium over the DevTools protocol, and a JupyterLab to look at; for tests only."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from sparsevlm.evaluation.paths import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """A browser's path, or ``None`` where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def wait_for(what, seconds: float, gap: float = 0.05):
    """Call until it gives something true; the last value, or AssertionError after the time."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(gap)
    return found


def stop(process: subprocess.Popen) -> None:
    """End a process that we started."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Lab:
    """A JupyterLab server in a folder, without a password, for this machine alone."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        home = folder / "jupyter"
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "JUPYTER_CONFIG_DIR": str(home), "JUPYTER_DATA_DIR": str(home),
            "JUPYTER_RUNTIME_DIR": str(home), "HF_HUB_OFFLINE": "1",
            "JUPYTERLAB_SETTINGS_DIR": str(home), "JUPYTERLAB_WORKSPACES_DIR": str(home),
        }  # fmt: skip
        settings = home / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false"}')  # else a question hides a corner of the page
        self.log = open(folder / "lab.log", "w")  # noqa: SIM115 - open as long as the server
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={self.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
             "--LabApp.expose_app_in_browser=True",
             f"--ServerApp.root_dir={folder}"],
            cwd=folder, env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def url(self, notebook: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}"

    def wait(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, "JupyterLab stopped; see lab.log"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api", timeout=2).read()
            except OSError:
                return False
            return True

        wait_for(answers, 60)

    def close(self) -> None:
        stop(self.process)
        self.log.close()


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, folder: Path) -> None:
        profile = folder / "chromium"
        self.process = subprocess.Popen(
            [find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0",
             "--remote-allow-origins=*", "--window-size=1500,1500", f"--user-data-dir={profile}",
             "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        from websocket import create_connection

        told = profile / "DevToolsActivePort"
        wait_for(lambda: told.exists() and told.read_text().strip(), 30)
        port = told.read_text().split()[0]
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = create_connection(address, timeout=60)
        self.number, self.failures, self.chooser = 0, [], None
        self.call("Page.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **parameters) -> dict:
        """One command of the protocol; exceptions of the page are noted in `failures`."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.failures.append(details.get("exception", {}).get("description", str(details)))
            if answer.get("method") == "Page.fileChooserOpened":
                self.chooser = answer["params"]
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def size(self, width: int, height: int) -> None:
        """Of the window, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def js(self, code: str):
        """Value of an expression in the page; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, code: str, seconds: float = 30):
        """Wait until an expression is true."""
        return wait_for(lambda: self.js(code), seconds)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """ "mousePressed", "mouseMoved" or "mouseReleased"."""
        button = "none" if kind == "mouseMoved" else "left"
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def key(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            said = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, **said)  # fmt: skip

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self.socket.close()
        stop(self.process)
