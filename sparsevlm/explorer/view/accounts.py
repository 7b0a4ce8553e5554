"""What a run costs on paper, layer by layer, beside the dense model. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevlm.explorer.run import Model, Run
from sparsevlm.models.sizes import kv_bytes, prefill_flops


@dataclass(frozen=True)
class Account:
    """Costs of one prefill.

    Attributes
    ----------
    tokens_in, tokens_out
        Visual tokens entering and left by each layer, recycled ones included.
    flops, dense_flops
        Operations of the prefill, as the paper counts them.
    kv, dense_kv
        Bytes of keys and values after it.
    """

    tokens_in: tuple[int, ...]
    tokens_out: tuple[int, ...]
    flops: float
    dense_flops: float
    kv: float
    dense_kv: float

    @property
    def mean_in(self) -> float:
        """What is computed and paid for."""
        return sum(self.tokens_in) / len(self.tokens_in)

    @property
    def mean_out(self) -> float:
        """The paper's budget."""
        return sum(self.tokens_out) / len(self.tokens_out)


def account(run: Run, model: Model) -> Account:
    """Count a run; text tokens are in operations and bytes, not in the two lists of tokens."""
    sample = run.sample
    entering = [tokens + run.num_text for tokens in sample.tokens_in]
    whole = [sample.num_visual + run.num_text] * len(entering)
    size = {"bytes_per_value": model.bytes_per_value}
    return Account(
        tuple(sample.tokens_in),
        tuple(sample.tokens_out),
        prefill_flops(entering, model.sizes),
        prefill_flops(whole, model.sizes),
        kv_bytes(entering, model.sizes, **size),
        kv_bytes(whole, model.sizes, **size),
    )


def at_position(found: Account, position: int) -> str:
    """A line for one position of the layer slider (see `fate.segment_of_position`)."""
    if position == 0:
        return f"input: {found.tokens_in[0]} visual tokens"
    layer = position - 1
    return (
        f"layer {layer}: {found.tokens_in[layer]} visual tokens in, "
        f"{found.tokens_out[layer]} counted out"
    )


def totals(found: Account) -> str:
    """A line for the whole prefill."""
    return (
        f"mean over layers: {found.mean_out:.1f} out (the paper's budget), {found.mean_in:.1f} in "
        f"(what is computed) · {_si(found.flops)}FLOPs, {found.flops / found.dense_flops:.0%} of "
        f"dense · KV {_si(found.kv)}B, {found.kv / found.dense_kv:.0%} of dense"
    )


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} "
