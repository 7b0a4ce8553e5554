"""What judges said is kept, whenever the process ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from sparsevlm.evaluation.judges.chat import Transcript, key_of
from sparsevlm.evaluation.judges.interface import JudgeError
from sparsevlm.evaluation.results.failures import RunError

WHO = {"kind": "parrot"}


def say(number):
    return [{"role": "user", "content": str(number)}]


def test_half_a_line_is_cut_off_and_the_rest_stays(tmp_path):
    with Transcript(tmp_path, WHO).writing() as kept:
        kept.add(say(1), "one", {"served_by": "x"})
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole + b'{"key": "2", "rep')
    assert Transcript(tmp_path, WHO).replies == {key_of(say(1)): ("one", False)}
    with Transcript(tmp_path, WHO).writing() as kept:
        assert kept.replies == {key_of(say(1)): ("one", False)}
        assert kept.path.read_bytes() == whole
        kept.add(say(2), "two", {})
    assert len(Transcript(tmp_path, WHO).replies) == 2
    header, entry = map(json.loads, whole.splitlines())
    assert header == {"judge": WHO} and entry["details"] == {"served_by": "x"}


def test_judges_do_not_share_transcripts(tmp_path):
    with Transcript(tmp_path, WHO).writing() as kept:
        kept.add(say(1), "one", {})
    assert key_of(say(1)) in Transcript(tmp_path, WHO).replies
    other = Transcript(tmp_path, {"kind": "other"})
    assert other.replies == {}
    other.path.write_bytes(kept.path.read_bytes())
    with pytest.raises(RunError, match="must begin with .*other.*it begins with .*parrot"):
        Transcript(tmp_path, {"kind": "other"})


def test_a_damaged_first_line_costs_no_replies(tmp_path):
    with Transcript(tmp_path, WHO).writing() as kept:
        kept.add(say(1), "one", {})
    damaged = b"?" + kept.path.read_bytes()[1:]
    kept.path.write_bytes(damaged)
    with pytest.raises(RunError, match="damaged or of another version"):
        Transcript(tmp_path, WHO)
    assert kept.path.read_bytes() == damaged
    kept.path.write_bytes(b'{"judge": {"ki')  # of a process killed in its first write
    with Transcript(tmp_path, WHO).writing() as transcript:
        transcript.add(say(1), "one", {})
    assert len(Transcript(tmp_path, WHO).replies) == 1


def test_two_processes_do_not_ask_one_judge(tmp_path):
    with Transcript(tmp_path, WHO).writing(), pytest.raises(JudgeError, match="another process"):
        with Transcript(tmp_path, WHO).writing():
            pass


def test_an_entry_of_another_shape_is_named(tmp_path):
    with Transcript(tmp_path, WHO).writing() as kept:
        pass
    with kept.path.open("a") as file:
        file.write('{"key": "x"}\n')
    with pytest.raises(JudgeError, match="damaged, an entry has no 'reply'"):
        Transcript(tmp_path, WHO)


def _fill(folder):
    with Transcript(folder, WHO).writing() as kept:
        for number in range(len(kept.replies), 10**6):
            kept.add(say(number), "x" * 2000, {})


def test_a_killed_process_loses_at_most_what_it_was_writing(tmp_path):
    context = multiprocessing.get_context("fork")
    before = 0
    for _ in range(5):
        child = context.Process(target=_fill, args=(tmp_path,))
        child.start()
        while len(Transcript(tmp_path, WHO).replies) < before + 5 and child.is_alive():
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with Transcript(tmp_path, WHO).writing() as kept:
            assert len(kept.replies) >= before + 5
            assert set(kept.replies) == {key_of(say(n)) for n in range(len(kept.replies))}
            before = len(kept.replies)


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path):
    script = """
import resource, sys
from sparsevlm.evaluation.judges.chat import Transcript
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
with Transcript(sys.argv[1], {"kind": "parrot"}).writing() as kept:
    for number in range(10):
        kept.add([{"role": "user", "content": str(number)}], "x" * 900, {})
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert "RunError: cannot write" in done.stderr
    assert "What the judge said before is kept. Free some space" in done.stderr
    kept = Transcript(tmp_path, WHO)
    assert 3 <= len(kept.replies) <= 5
    assert kept.path.read_bytes().endswith(b"\n")
