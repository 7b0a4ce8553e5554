"""What judges said is kept, whenever the process ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from sparsevlm.evaluation.judges import JudgeError
from sparsevlm.evaluation.judges.transcripts import Reply, known_replies, transcripts

WHO = {"kind": "parrot"}


def say(number):
    return [{"role": "user", "content": str(number)}]


def test_half_a_line_is_cut_off_and_the_rest_stays(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        kept.add(say(1), Reply("one", {"served_by": "x"}))
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole + b'{"key": "2", "rep')
    assert len(known_replies(tmp_path, WHO)) == 1
    with transcripts(tmp_path, WHO) as kept:
        assert kept[say(1)] == Reply("one", {"served_by": "x"})
        assert kept.path.read_bytes() == whole
        kept.add(say(2), Reply("two"))
    assert len(known_replies(tmp_path, WHO)) == 2
    assert json.loads(whole.splitlines()[0]) == {"judge": WHO}


def test_judges_do_not_share_transcripts(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        kept.add(say(1), Reply("one"))
    assert say(1) in known_replies(tmp_path, WHO)
    assert say(1) not in known_replies(tmp_path, {"kind": "other"})


def test_two_processes_do_not_ask_one_judge(tmp_path):
    with transcripts(tmp_path, WHO), pytest.raises(JudgeError, match="another process"):
        with transcripts(tmp_path, WHO):
            pass


def test_an_entry_of_another_shape_is_named(tmp_path):
    with transcripts(tmp_path, WHO) as kept:
        pass
    with kept.path.open("a") as file:
        file.write('{"key": "x"}\n')
    with pytest.raises(JudgeError, match="damaged, an entry has no 'reply'"):
        known_replies(tmp_path, WHO)


def _fill(folder):
    with transcripts(folder, WHO) as kept:
        for number in range(len(kept), 10**6):
            kept.add(say(number), Reply("x" * 2000))


def test_a_killed_process_loses_at_most_what_it_was_writing(tmp_path):
    context = multiprocessing.get_context("fork")
    before = 0
    for _ in range(5):
        child = context.Process(target=_fill, args=(tmp_path,))
        child.start()
        while len(known_replies(tmp_path, WHO)) < before + 5 and child.is_alive():
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with transcripts(tmp_path, WHO) as kept:
            assert len(kept) >= before + 5
            assert all(say(number) in kept for number in range(len(kept)))
            before = len(kept)


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path):
    script = """
import resource, sys
from pathlib import Path
from sparsevlm.evaluation.judges.transcripts import transcripts, Reply
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
with transcripts(Path(sys.argv[1]), {"kind": "parrot"}) as kept:
    for number in range(10):
        kept.add([{"role": "user", "content": str(number)}], Reply("x" * 900))
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert "JudgeError: cannot write" in done.stderr and "is kept" in done.stderr
    kept = known_replies(tmp_path, WHO)
    assert 3 <= len(kept) <= 5
    assert kept.path.read_bytes().endswith(b"\n")
