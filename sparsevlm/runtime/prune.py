"""prune(model, pruner): the only function that changes a model.

Hooks only: the model is pruned inside the with block and exactly as before after it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from sparsevlm.core.interface import Pruner, phase
from sparsevlm.runtime.session import PruningSession
from sparsevlm.runtime.trace import Trace

# By the model's decoder.
_ACTIVE: weakref.WeakKeyDictionary[nn.Module, PruningSession] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


@contextmanager
def prune(
    model: nn.Module,
    pruner: Pruner,
    *,
    visual_mask: Tensor | tuple[int, int] | None = None,
    trace: bool = True,
    static: bool | None = None,
) -> Iterator[Trace | None]:
    """Prune the visual tokens of ``model`` inside the with block.

    Calls and `generate` both work, with left-padded batches, sampling or beams. Logits and hidden
    states come back shorter by the dropped tokens (`SampleTrace.output_index` is the map). A cache
    filled inside the block must be used inside it.

    Parameters
    ----------
    model
        A model of a known architecture, e.g. `LlavaForConditionalGeneration`.
    pruner
        The method, e.g. from `make_pruner`.
    visual_mask
        Only for models that have no image placeholder (plain language models called with
        ``inputs_embeds``): ``[batch, tokens]`` bool, or (start, stop) for all rows.
    trace
        Whether to record a trace.
    static
        Whether pruning leaves every value on the device: then no shape depends on a value,
        the host never waits, and a prefill can be captured. All text rows of a scored layer are
        computed, and those that do not rate count nothing, so scores differ in their last bits.
        ``None``: everywhere but on a CPU, where nothing waits for a device.

    Yields
    ------
    Trace or None
        Of the last prefill.

    Raises
    ------
    TypeError
        For a model of an unknown architecture.
    RuntimeError
        If the model is already being pruned.
    ValueError
        For stages outside the model, for ``static`` and a method that decides its counts at run
        time, and at a call for what is not supported: labels, a static cache, right padding,
        several images per sample, no text after the image.
    """
    session = PruningSession(model, pruner, visual_mask, trace, static)
    decoder = session.adapter.decoder
    with _LOCK:
        if decoder in _ACTIVE:
            raise RuntimeError(
                "this model is already being pruned; leave the outer with block first (another "
                "thread needs a model of its own)"
            )
        _ACTIVE[decoder] = session
    hooks = ExitStack()
    try:
        try:
            session.attach(hooks)
            yield session.trace
        finally:
            _close(hooks)
    finally:
        _ACTIVE.pop(decoder, None)


def session_of(decoder: nn.Module) -> PruningSession | None:
    """The session under which the model of this decoder is being pruned, if it is."""
    return _ACTIVE.get(decoder)


@phase("session")
def _close(hooks: ExitStack) -> None:
    hooks.close()
