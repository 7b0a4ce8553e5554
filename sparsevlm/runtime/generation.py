"""A call of `generate` under `prune`: which of the model's calls are about its prompt."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from sparsevlm.runtime.hooks import HookOwner


class Generation(StoppingCriteria):
    """One call of `generate`: which of the model's calls are about its prompt.

    Parameters
    ----------
    session
        Under which it runs.
    arguments
        Of the call, by name.
    config
        Of the model.

    Raises
    ------
    ValueError
        If the prompt is to come in chunks.
    """

    def __init__(self, session: HookOwner, arguments: dict, config: GenerationConfig) -> None:
        self.session, self.arguments, self.thread = session, arguments, get_ident()
        given = [arguments.get(name) for name in ("inputs_embeds", "inputs", "input_ids")]
        self.length = next((prompt.shape[1] for prompt in given if prompt is not None), 1)
        cache = arguments.get("past_key_values")
        # With a filled cache the prompt is the one in the cache, and no prefill comes.
        self.awaited = cache is None or cache.get_seq_length() == 0
        self.assisting = False
        ids = next((given for given in given[1:] if given is not None), None)
        self.ids: Tensor | None = ids
        config = arguments.get("generation_config") or config
        chunk = arguments.get("prefill_chunk_size", config.prefill_chunk_size)
        if chunk is not None and chunk < self.length and self.awaited:
            raise ValueError(
                f"prune() cannot prune a prompt in parts: prefill_chunk_size={chunk} cuts this one "
                f"of {self.length} tokens, and the words that rate may be in a later part. Leave "
                "prefill_chunk_size out"
            )
        if self.thread != session.thread:
            stopping = [*(arguments.get("stopping_criteria") or ()), self]
            self.arguments = {**arguments, "stopping_criteria": StoppingCriteriaList(stopping)}

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        """Never stops; but in a thread of its own, an answer may not outlive the block."""
        if not self.session.open:
            raise RuntimeError(
                "the block of prune() ended while this thread was still generating under it; "
                "join the thread inside the block"
            )
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    def prompt_of(self, ids: Tensor | None, length: int) -> tuple[int, bool] | None:
        """Tokens of the prompt at the head of a prefill, and whether it is the first time.

        Without a cache the prompt comes again and again with the answer so far behind it, and
        assisted generation sends candidates along. ``None``: the prefill is about something else,
        such as the prompt without an image that ``guidance_scale`` looks at.

        Parameters
        ----------
        ids
            ``[batch, tokens]`` of the prefill, where it has them.
        length
            Its tokens.
        """
        if self.awaited and not self.assisting:
            self.awaited, prompt_length = False, min(self.length, length)
            self.ids = None if ids is None else ids[:, :prompt_length]
            return prompt_length, True
        known = self.ids
        if ids is None or known is None or len(ids) != len(known):
            return None
        same = torch.equal(ids[:, : known.shape[1]], known)
        return (known.shape[1], False) if same else None

    def assist(self, own: Callable, *args: object, **kwargs: object) -> object:
        """Run a ``generate`` inside this one: the model, or its first layers, looks ahead."""
        self.assisting = True
        try:
            return own(*args, **kwargs)
        finally:
            self.assisting = False

    def end(self) -> None:
        """After it, whatever came: who waits for a streamed answer waits no longer."""
        streamer = self.arguments.get("streamer")
        if streamer is not None and self.thread != self.session.thread:
            self.arguments.pop("streamer")
            streamer.end()
