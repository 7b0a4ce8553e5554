from __future__ import annotations

import pytest
import torch
from jaxtyping import install_import_hook
from tiny import tiny_inputs, tiny_llava

# While the tests run, every call checks the shapes that these modules' signatures promise.
SHAPE_CHECKED = [f"core.{name}" for name in ("raters", "scoring", "sparsity", "recycling")]
SHAPE_CHECKED += ["runtime.attention"]
install_import_hook([f"sparsevlm.{name}" for name in SHAPE_CHECKED], "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=["sdpa", "eager"])
def model(request):
    """A tiny random LLaVA under each attention kernel."""
    return tiny_llava(attention=request.param)


@pytest.fixture(scope="session")
def sdpa_model():
    return tiny_llava()


@pytest.fixture
def inputs():
    """A left-padded batch of three."""
    return tiny_inputs()


@pytest.fixture
def server(monkeypatch):
    """A judge that is asked over the network, and a key for it."""
    from judge_server import serving, set_key  # after the hook above

    set_key(monkeypatch)
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """An untrained miniature on the disk."""
    from untrained import untrained  # after the hook above

    return untrained(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def runs(request, source, tmp_path_factory):
    """The runs of the module's PROFILE."""
    from sparsevlm.evaluation.results.store import Store
    from sparsevlm.evaluation.runs import plan_runs

    store = Store(tmp_path_factory.mktemp("plan"))
    return plan_runs(request.module.PROFILE, backend=source, store=store)
