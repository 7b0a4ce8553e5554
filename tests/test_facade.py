from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sparsevlm

ROOT = Path(__file__).parent.parent
SETTINGS = """
import sys
import sparsevlm as sv
tokens = {"dense": None, "sparsevlm-video": 194}
pruners = [sv.make_pruner(name, tokens=tokens.get(name, 64), num_layers=32, num_visual=576)
           for name in sv.METHODS]
settings = [pruner.to_json() for pruner in pruners]
sv.schedule_for(100, 8, 576), sv.Trace
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_settings_need_no_torch():
    subprocess.run([sys.executable, "-c", SETTINGS], check=True, cwd=ROOT)


def test_prune_is_the_function_whatever_was_imported_before():
    code = "import sparsevlm.runtime.prune, sparsevlm as sv; assert sv.prune.__name__ == 'prune'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_public_names():
    assert len(sparsevlm.__all__) <= 25
    for name in sparsevlm.__all__:
        assert getattr(sparsevlm, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'prunes'"):
        sparsevlm.prunes  # noqa: B018 - the access is what raises
