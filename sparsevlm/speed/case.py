"""One model and its prompt, ready to be run dense, with the oracle's stages, under any pruner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from sparsevlm.core.interface import StagedPruner, phase
from sparsevlm.core.schedule import check_stages, tokens_per_layer
from sparsevlm.runtime.adapter import find_adapter
from sparsevlm.runtime.capture import Captured, capture
from sparsevlm.runtime.prune import prune
from sparsevlm.speed import random_models
from sparsevlm.speed.shapes import Shape


@dataclass
class Case:
    """A model of a shape with one batch of prompts; `inputs` are the arguments of a call.

    Budgets belong to the `nominal` number of visual tokens; of another number the same share is
    kept.
    """

    shape: Shape
    model: nn.Module
    inputs: dict[str, object]
    device: str
    dtype: torch.dtype
    seed: int
    nominal: int
    _decoder_inputs: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls, shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32,
        attention: str = "sdpa", batch: int = 1, seed: int = 0,
    ) -> Case:  # fmt: skip
        """Build the model and its prompts."""
        model = random_models.build(shape, device, dtype, attention, seed)
        inputs = random_models.inputs(shape, device, dtype, batch, seed)
        return cls(shape, model, inputs, device, dtype, seed, shape.num_visual)

    def _with(self, shape: Shape, batch: int) -> Case:
        inputs = random_models.inputs(shape, self.device, self.dtype, batch, self.seed)
        return replace(self, shape=shape, inputs=inputs, _decoder_inputs={})

    def with_batch(self, batch: int) -> Case:
        """The same model with so many prompts."""
        return self._with(self.shape, batch)

    def with_visual(self, num_visual: int) -> Case:
        """The same weights with another number of visual tokens.

        Raises
        ------
        ValueError
            For a model whose tower fixes the number.
        """
        if num_visual == self.shape.num_visual:
            return self
        if self.shape.family != "llama":
            raise ValueError(
                f"the image of {self.shape.name} gives {self.shape.num_visual} visual tokens; for "
                "another number use the shape 'reference'"
            )
        batch = len(next(iter(self.inputs.values())))
        return self._with(replace(self.shape, num_visual=num_visual), batch)

    @property
    def _options(self) -> dict[str, object]:
        """What `prune` must be told about a model of this shape."""
        shape = self.shape
        if shape.family == "llama":
            return {"visual_mask": (shape.before, shape.before + shape.num_visual)}
        return {}

    @property
    def decoder(self) -> nn.Module:
        """The text model."""
        return find_adapter(self.model, **self._options).decoder

    def known(self) -> Iterator[Tensor]:
        """Weights, buffers and inputs."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        yield from (value for value in self.inputs.values() if isinstance(value, Tensor))

    def pruner(self, method: str, budget: int) -> StagedPruner:
        """A method at a budget of the nominal number of visual tokens.

        Raises
        ------
        ValueError
            If the method decides at run time how many tokens stay: then it has no oracle.
        """
        tokens = round(budget * self.shape.num_visual / self.nominal)
        pruner = self.shape.pruner(method, tokens)
        if any(stage.keep is None for stage in pruner.stages):
            raise ValueError(
                f"{method} decides at run time how many tokens stay, so there is no oracle of the "
                "same stages to compare with; choose a method with fixed counts"
            )
        return pruner

    def pruned(
        self, pruner: StagedPruner | None, static: bool | None = None
    ) -> AbstractContextManager:
        """The with block that prunes the model; for ``None`` it stays dense."""
        if pruner is None:
            return nullcontext()
        return prune(self.model, pruner, trace=False, static=static, **self._options)

    def captured(self, limit: int) -> Captured:
        """The with block in which prefills run from graphs; see `capture`."""
        return capture(self.model, limit=limit, **self._options)

    def forward(self, pruner: StagedPruner | None = None, static: bool | None = None) -> None:
        """One prompt: vision tower, prefill with a cache, logits of the last token."""
        with torch.no_grad(), self.pruned(pruner, static):
            self.model(**self.inputs, use_cache=True, logits_to_keep=1)

    def decoder_inputs(self) -> dict[str, object]:
        """What the model gives its decoder: embeddings and positions."""
        if not self._decoder_inputs:

            def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
                self._decoder_inputs.update(kwargs)

            handle = self.decoder.register_forward_pre_hook(note, with_kwargs=True)
            try:
                self.forward()
            finally:
                handle.remove()
        return self._decoder_inputs

    def oracle(self, indices: dict[int, Tensor]) -> Tensor:
        """Prefill with the tokens of every stage known beforehand, in a plain loop without hooks.

        Returns the final hidden states. The indices are those of `oracle_indices`; positions go on
        without gaps.
        """
        decoder, given = self.decoder, self.decoder_inputs()
        hidden, positions = given["inputs_embeds"], given.get("position_ids")
        if positions is None:
            positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        cache = DynamicCache(config=decoder.config)
        with torch.no_grad():
            tables = decoder.rotary_emb(hidden, position_ids=positions)
            if -1 in indices:
                hidden, tables = _cut(hidden, tables, indices[-1])
            for number, layer in enumerate(decoder.layers):
                out = layer(
                    hidden, attention_mask=None, position_embeddings=tables, past_key_values=cache,
                    use_cache=True,
                )  # fmt: skip
                hidden = out[0] if isinstance(out, tuple) else out
                if number in indices:
                    hidden, tables = _cut(hidden, tables, indices[number])
            return decoder.norm(hidden)

    def oracle_indices(self, pruner: StagedPruner) -> dict[int, Tensor]:
        """For every stage, rows of the sequence to keep: as many as the pruner, evenly spaced."""
        shape = self.shape
        check_stages(pruner.stages, shape.layers)
        entering = tokens_per_layer(
            pruner.stages, shape.layers, shape.num_visual, getattr(pruner, "recycle", 0)
        )[0]
        current, indices = shape.num_visual, {}
        for stage in pruner.stages:
            count = entering[stage.layer + 1]
            visual = torch.arange(count) * current // count
            rows = torch.cat([
                torch.arange(shape.before), shape.before + visual,
                shape.before + current + torch.arange(shape.after),
            ])  # fmt: skip
            indices[stage.layer], current = rows.to(self.device), count
        return indices


@phase("cut")
def _cut(
    hidden: Tensor, tables: tuple[Tensor, Tensor], rows: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    hidden = hidden.index_select(1, rows)
    return hidden, tuple(table[..., : hidden.shape[1], :] for table in tables)
