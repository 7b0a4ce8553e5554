"""The rehearsal: the commands of docs/a100.md, in a copy of the repository."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from judge_server import said, serving

from rehearsal.checkpoints import write_checkpoints
from rehearsal.data import write_data

ROOT = Path(__file__).resolve().parents[2]
OF_MINIATURES = ("miniature",)  # notebooks that are about nothing else
NEVER = re.compile(  # in no other one; nor a bar of transformers
    r"[Mm]iniature|[Bb]undled|mini-(llava|gemini|qwen|video)|Loading weights"
)
JUDGE = "gpt-4.1-mini"
NO_HUB = "http://127.0.0.1:9"  # nobody listens there: who asks the hub, fails


class RehearsalError(Exception):
    """Something of the profile does not work; the message says what."""


@dataclass
class Rehearsal:
    """A copy of the repository with checkpoints and data, and the commands given there.

    Attributes
    ----------
    folder : Path
        Holds the copy (`suite`), `checkpoints`, `data` and the executed notebooks (`executed`).
    jobs : int
        Processes at a time.
    """

    folder: Path
    jobs: int = 2
    began: float = field(default_factory=time.monotonic)

    @property
    def suite(self) -> Path:
        """The copy of the repository."""
        return self.folder / "suite"

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.suite),
            "SPARSEVLM_CHECKPOINTS": str(self.folder / "checkpoints"),
            "SPARSEVLM_DATA": str(self.folder / "data"),
            "SPARSEVLM_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": NO_HUB,
            "HF_HUB_OFFLINE": "0",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def say(self, text: str) -> None:
        """Print a line with the minutes since the beginning."""
        print(f"[{(time.monotonic() - self.began) / 60:5.1f} min] {text}", flush=True)

    def prepare(self, rows: int, checkpoints: Sequence[str] = (), data: Sequence[str] = ()) -> None:
        """Copy the repository and write checkpoints and data; all by default."""
        shutil.rmtree(self.folder, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        ).stdout.decode()  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("figures/"):
                (self.suite / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.suite / name)
        write_checkpoints(self.folder / "checkpoints", tuple(checkpoints))
        write_data(self.folder / "data", rows, *([tuple(data)] if data else []))

    def command(self, *arguments: str, ok: Sequence[int] = (0,)) -> str:
        """Give one command in the copy and return what it prints.

        Raises
        ------
        RehearsalError
            It ends with another exit code than one of `ok`.
        """
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=self.suite, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode not in ok:
            raise RehearsalError(
                f"`{' '.join(arguments)}` ended with {done.returncode}:\n{done.stdout[-3000:]}"
            )
        return done.stdout

    def sparsevlm(self, *arguments: str, **how: Sequence[int]) -> str:
        """Give a command of the suite with the profile a100."""
        return self.command("sparsevlm", *arguments, **how)

    def papermill(self, name: str, parameters: Sequence[str] = ()) -> str:
        """Execute a notebook by plain papermill; return why it is not as it should be, or ""."""
        out = self.folder / "executed" / f"{name}.ipynb"
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.command(
                "papermill", f"notebooks/{name}.ipynb", str(out), "-p", "profile", "a100",
                *parameters, "--no-progress-bar",
            )  # fmt: skip
        except RehearsalError as error:
            return str(error).strip().splitlines()[-1]
        return "; ".join(faults(json.loads(out.read_text(encoding="utf-8"))))

    def notebooks(self, names: Sequence[str]) -> dict[str, str]:
        """Execute notebooks, `jobs` at a time; return why some are not as they should be."""
        with ThreadPoolExecutor(self.jobs) as pool:
            found = dict(zip(names, pool.map(self.papermill, names), strict=True))
        return {name: why for name, why in found.items() if why}

    def judge(self) -> str:
        """Have the open answers judged by a server on this machine."""
        with serving() as server:
            server.otherwise = _verdict
            return self.sparsevlm(
                "judge", "endpoint", "--profile", "a100", "--model", JUDGE,
                "--address", server.address, "--yes",
            )  # fmt: skip


def _verdict(body: dict) -> tuple:
    """A judge's reply to one question: of a video a verdict, of MM-Vet a number."""
    text = body["messages"][-1]["content"]
    chosen = 1 + sum(text.encode()) % 2  # the same for the same answer
    reply = {"pred": "yes", "score": 2 * chosen}
    of_video = "pred" in json.dumps(body["messages"])
    return ("json", 200, said(str(reply) if of_video else f"{chosen / 2}"), {})


def faults(notebook: dict) -> list[str]:
    """What no notebook of the a100 profile may show: words of the miniatures, errors, nan."""
    found = []
    for number, cell in enumerate(notebook["cells"], start=1):
        shown = [("", "".join(cell["source"]))] if cell["cell_type"] == "markdown" else []
        for output in cell.get("outputs", []):
            texts = output.get("data", {})
            for kind in ("text/plain", "text/html", "text/markdown"):
                shown.append((kind, "".join(texts.get(kind, ""))))
            shown.append(("stream", "".join(output.get("text", ""))))
        for _, text in shown:
            found += [f"cell {number} says {word[0]!r}" for word in NEVER.finditer(text)]
    return list(dict.fromkeys(found))


def unfilled(folder: Path) -> list[str]:
    """Return the columns of tables, and of what figures plot, that hold no value at all."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        empty = [name for name in (rows[0] if rows else ()) if not any(row[name] for row in rows)]
        found += [f"{path.name} has nothing in the column {name!r}" for name in empty]
    return found


def rehearse(folder: Path, rows: int = 4) -> None:
    """Rehearse the whole profile.

    Parameters
    ----------
    folder : Path
        Emptied first.
    rows : int
        Questions of each benchmark.

    Raises
    ------
    RehearsalError
        Something does not work; what was made is left there.
    """
    it = Rehearsal(folder)
    it.prepare(rows)
    it.say("copied the repository, wrote seven checkpoints and twelve data sets")
    print(it.sparsevlm("check", "--profile", "a100", ok=(0, 1)))
    it.say("checked; now the evaluation runs")
    it.sparsevlm("reproduce", "--profile", "a100", "--shard", "1/1", "--jobs", str(it.jobs))
    it.say("answered; now the judge")
    print(it.judge())
    names = [path.stem for path in sorted((it.suite / "notebooks").glob("*.ipynb"))]
    names = [name for name in names if name not in OF_MINIATURES]
    it.say(f"judged; now {len(names)} notebooks by papermill")
    wrong = it.notebooks(names)
    it.say(f"{len(names) - len(wrong)} of {len(names)} notebooks are as they should be")
    print(it.sparsevlm("claims"))
    it.say("wrote CLAIMS.md")
    problems = [f"{name}: {why}" for name, why in wrong.items()]
    problems += unfilled(it.suite / "figures" / "a100")
    if problems:
        raise RehearsalError("\n".join(problems))
