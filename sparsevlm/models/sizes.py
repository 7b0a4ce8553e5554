"""The sizes of a decoder, and what a prefill costs on paper: operations and KV cache.

One class for planning, accounting and timing. The sizes of the paper's checkpoints stand in
data/checkpoints.yaml and nowhere else. The costs are analytic counts from the tokens that each
layer processes, no measurements; `sparsevlm.speed` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsevlm.core.schedule import as_int

if TYPE_CHECKING:
    from sparsevlm.core.interface import StagedPruner

# The paper does not give the length of its prompts; with it all 13 FLOPs values of Table 1 agree
# at once.
PAPER_TEXT_TOKENS = 117


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a language model with visual tokens in its prompt, as config.json has them.

    Attributes
    ----------
    layers, heads, kv_heads : int
        Decoder layers, attention heads and heads of keys and values (default: as many as heads).
    hidden : int
        d, the width of the residual stream.
    intermediate : int
        m, the width of the gated feed-forward network.
    head_dim : int
        Width of a head; default: ``hidden // heads``.
    vocabulary : int
        Rows of the embedding.
    num_visual : int
        Visual tokens of the nominal image or video.
    has_mrope : bool
        Whether positions have a row and a column (Qwen2-VL).
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int = 0
    head_dim: int = 0
    vocabulary: int = 32064
    num_visual: int = 576
    has_mrope: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "head_dim", self.head_dim or self.hidden // (self.heads or 1))
        for name in ModelSizes.__dataclass_fields__:
            if name != "has_mrope":
                object.__setattr__(self, name, as_int(name, getattr(self, name), 1))

    @classmethod
    def from_text_config(cls, config: Mapping, num_visual: int = 576) -> ModelSizes:
        """Return the sizes of a decoder described by the `text_config` of a config.json."""
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or 0,
            head_dim=config.get("head_dim") or 0,
            vocabulary=config["vocab_size"],
            num_visual=num_visual,
            has_mrope="mrope_section" in rope,
        )

    def pruner(self, method: str, tokens: int | None, **options: object) -> StagedPruner:
        """Return a method at a budget for this model.

        Parameters
        ----------
        method, tokens
            As `sparsevlm.make_pruner` takes them.
        **options
            Further fields of the method, such as ``layers``; they go before what the model decides.

        Raises
        ------
        ValueError
            An unknown method or option, or an impossible budget.
        """
        from sparsevlm.methods import make_pruner, options_for

        chosen: dict[str, Any] = {**options_for(method, self.heads, self.has_mrope), **options}
        return make_pruner(
            method, tokens=tokens, num_layers=self.layers, num_visual=self.num_visual, **chosen
        )


def _check(tokens: Sequence[float]) -> None:
    if not len(tokens) or min(tokens) < 0:
        raise ValueError(
            f"needs the number of tokens that enter each layer, 0 or more, got {tokens}"
        )


def prefill_flops(tokens: Sequence[float], sizes: ModelSizes) -> float:
    """Return the operations of one prefill, as the paper counts them.

    Parameters
    ----------
    tokens : sequence of float
        n per layer: all tokens ENTERING it, visual (recycled ones included) and text.
    sizes : ModelSizes
        Of the decoder.

    Returns
    -------
    float
        The sum over layers of 4 n d^2 + 2 n^2 d + 3 n d m.

    Source
    ------
    Table 1 and the FLOPs counter of the official v1.5 code. Difference: none. It counts a
    multiply-add as one, takes full multi-head attention, and leaves out the vision tower, the
    output head, the scoring and the clustering.
    """
    _check(tokens)
    d, m = sizes.hidden, sizes.intermediate
    return float(sum(4 * n * d**2 + 2 * n**2 * d + 3 * n * d * m for n in tokens))


def kv_bytes(tokens: Sequence[float], sizes: ModelSizes, *, bytes_per_value: int = 2) -> float:
    """Return the size of the keys and values of a prefill, in bytes.

    Parameters
    ----------
    tokens : sequence of float
        Tokens entering each layer: a layer caches what it processes.
    sizes : ModelSizes
        Of the decoder.
    bytes_per_value : int
        2 for half precision, 4 for single.

    Source
    ------
    Section 5.3 gives 302.4 and 100.8 MB for 576 and 192 tokens of LLaVA-1.5-7B in half precision.
    Difference: exact counting gives 301.99 and 100.66; the paper rounds one token to 0.525 MB, and
    applies the budget (tokens left by a layer), where the cache holds the tokens entering it.
    """
    _check(tokens)
    return float(sum(2 * n * sizes.kv_heads * sizes.head_dim for n in tokens) * bytes_per_value)
