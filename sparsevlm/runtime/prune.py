"""prune(model, pruner): the only function that changes a model.

Hooks only: the model is pruned inside the with block and exactly as before after it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from sparsevlm.core.interface import Pruner
from sparsevlm.runtime.hooks import clean
from sparsevlm.runtime.session import SESSIONS, PruningSession
from sparsevlm.runtime.trace import Trace


@contextmanager
def prune(
    model: nn.Module,
    pruner: Pruner,
    *,
    visual_mask: Tensor | tuple[int, int] | None = None,
    trace: bool = True,
    static: bool | None = None,
    questions: Sequence[str] | None = None,
    question_tokens: int | Sequence[int] | None = None,
) -> Iterator[Trace | None]:
    """Prune the visual tokens of ``model`` inside the with block.

    Calls and `generate` both work, with left-padded batches, sampling or beams. Logits and
    hidden states come back shorter by the dropped tokens (`SampleTrace.output_index` is the
    map). A prompt is one call, or one `generate`: a further question on its cache is answered
    with what survived, and rates nothing (`SampleTrace.turns`). A cache filled inside the block
    refuses to be used outside it (so do copies of it, but no tensors that were taken out), and
    the block belongs to the thread that entered it; `generate` with a streamer may run in
    another, one at a time.

    Each image of a prompt is pruned for itself, to the counts of the method: the text behind it
    rates, up to the end of the prompt, and no token of another image. It has a `SampleTrace` of
    its own.

    Parameters
    ----------
    model
        A model of a known architecture, e.g. `LlavaForConditionalGeneration`.
    pruner
        The method, e.g. from `make_pruner`.
    visual_mask
        Only for models that have no image placeholder (plain language models called with
        ``inputs_embeds``): ``[batch, tokens]`` bool, each run of which is an image, or (start,
        stop) for all rows.
    trace
        Whether to record a trace.
    static
        Whether pruning leaves every value on the device: then no shape depends on a value,
        the host never waits, and a prefill can be captured. All text rows of a scored layer are
        computed, and those that do not rate count nothing, so scores differ in their last bits.
        ``None``: everywhere but on a CPU, where nothing waits for a device.
    questions
        One text per sample, for a method that reads the question's own words (CDPruner).
    question_tokens
        How many tokens at the end of the prompt may rate, of all samples or of each: the last
        question of a conversation that is given as a whole. The turns between the image and them
        are kept and rate nothing. ``None``: all text after the image.

    Yields
    ------
    Trace or None
        Of the last prompt.

    Raises
    ------
    TypeError
        For a model of an unknown architecture.
    RuntimeError
        If the model is already being pruned; at a call from another thread.
    ValueError
        For stages outside the model, for ``static`` and a method that decides its counts at run
        time, and at a call for what is not supported: labels, a static cache, right padding,
        an image and a video in a sample, no text after the last image, a prompt in parts,
        ``question_tokens`` that a prompt does not have.
    """
    session = PruningSession(model, pruner, visual_mask, trace, static, questions, question_tokens)
    # Closed twice, for an interrupt may come at the first.
    try:
        try:
            session.open = True
            _claim(session)
            session.attach()
            yield session.trace
        finally:
            session.close()
    finally:
        session.close()


def _claim(session: PruningSession) -> None:
    """Enter a session for its model, where no other is open."""
    # One step, and no lock: an interrupt could come between taking and releasing one.
    other = SESSIONS.setdefault(session.adapter.decoder, session)
    if other is not session and other.open:
        gc.collect()  # a generator that was dropped inside its block may wait to be collected
    if other is not session and not other.open:
        other.close()
        other = SESSIONS.setdefault(session.adapter.decoder, session)
    if other is not session:
        raise RuntimeError(
            "this model is already being pruned; leave the outer with block first (another "
            "thread needs a model of its own). Where no block is left to leave, "
            "sparsevlm.reset(model) makes the model dense again"
        )


def reset(model: nn.Module) -> None:
    """Make a model dense again, whatever was left on it: it closes the block that prunes it.

    Needed only where a block of `prune` or `capture` cannot be left any more, e.g. because a
    generator was abandoned inside it.

    Parameters
    ----------
    model
        Any module; what is inside it is reset too.
    """
    modules = list(model.modules())
    for session in list(SESSIONS.values()):
        if session.model in modules or session.adapter.decoder in modules:
            session.close()
    clean(modules)
