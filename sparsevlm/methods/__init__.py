"""All methods by name: SparseVLM, the baselines of the paper and the controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from sparsevlm.core.interface import StagedPruner
from sparsevlm.core.sparsevlm import Dense, SparseVLM
from sparsevlm.core.variants import VARIANTS, plus_heads, v15
from sparsevlm.methods.controls import Random, Uniform
from sparsevlm.methods.fastv import FastV
from sparsevlm.methods.pooled import Pooled
from sparsevlm.methods.pyramiddrop import PyramidDrop
from sparsevlm.methods.tome import ToMe


@dataclass(frozen=True)
class Method:
    """A method as tables and figures know it.

    Attributes
    ----------
    name
        For commands and records.
    label
        For readers.
    build
        ``build(tokens, num_layers, num_visual, **overrides)`` returns a pruner.
    meets_budget
        Whether the tokens left follow the budget, and not the question.
    """

    name: str
    label: str
    build: Callable[..., StagedPruner]
    meets_budget: bool = True


def _dense(tokens: None, num_layers: int, num_visual: int) -> Dense:
    if tokens is not None:
        raise ValueError(f"the dense model has no budget; tokens must be None, got {tokens!r}")
    return Dense()


def _all_text(tokens: int, num_layers: int, num_visual: int, **options: object) -> SparseVLM:
    """The ablation of the paper's Figure 5: no selection of raters."""
    return v15(tokens, num_layers, num_visual, **{"raters": "all_text", **options})


def _all_tokens(tokens: int, num_layers: int, num_visual: int, **options: object) -> SparseVLM:
    """The other ablation of Figure 5: every token rates, visual ones and the system prompt too."""
    return v15(tokens, num_layers, num_visual, **{"raters": "all_tokens", **options})


def _no_recycling(tokens: int, num_layers: int, num_visual: int, **options: object) -> SparseVLM:
    """The ablation of the paper's Table 4, with the budget refilled by tokens that are kept."""
    return v15(tokens, num_layers, num_visual, **{"recycle": 0.0, **options})


def _not_refilled(tokens: int, num_layers: int, num_visual: int, **options: object) -> SparseVLM:
    """The same ablation, the other way to read it: recycled tokens are lost, kept ones as before.

    It is left with fewer tokens than its budget says; the paper does not state which it means.
    """
    return replace(v15(tokens, num_layers, num_visual), **{"recycle": 0.0, **options})


def _simple(kind: type[StagedPruner]) -> Callable[..., StagedPruner]:
    def build(tokens: int, num_layers: int, num_visual: int, **options: object) -> StagedPruner:
        layers = {"layers": options.pop("layers")} if "layers" in options else {}
        return replace(kind.for_budget(tokens, num_layers, num_visual, **layers), **options)

    return build


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("dense", "Dense", _dense),
        Method("sparsevlm", "SparseVLM", VARIANTS["v1.5"]),
        Method("sparsevlm-all-text", "SparseVLM, all text", _all_text),
        Method("sparsevlm-all-tokens", "SparseVLM, all tokens", _all_tokens),
        Method("sparsevlm-no-recycling", "SparseVLM, no recycling", _no_recycling),
        Method("sparsevlm-not-refilled", "SparseVLM, no recycling, not refilled", _not_refilled,
               meets_budget=False),
        Method("sparsevlm-paper", "SparseVLM (paper)", VARIANTS["paper"]),
        Method("sparsevlm-v1.0", "SparseVLM (v1.0)", VARIANTS["v1.0"], meets_budget=False),
        Method("sparsevlm-video", "SparseVLM (video)", VARIANTS["video"], meets_budget=False),
        Method("sparsevlm-plus", "SparseVLM+", VARIANTS["plus"]),
        Method("fastv", "FastV", _simple(FastV)),
        Method("pdrop", "PDrop", _simple(PyramidDrop)),
        Method("tome", "ToMe", _simple(ToMe)),
        Method("random", "Random", _simple(Random)),
        Method("uniform", "Uniform grid", _simple(Uniform)),
        Method("pooled", "Pooled grid", _simple(Pooled)),
    )
}  # fmt: skip


def make_pruner(
    name: str, *, tokens: int | None, num_layers: int, num_visual: int, **overrides: object
) -> StagedPruner:
    """Build a method at a budget.

    Parameters
    ----------
    name
        A key of `METHODS`.
    tokens
        The budget: mean over the layers of the visual tokens left. ``None`` for ``"dense"``, and
        for the variants whose counts follow the question where other settings are given.
    num_layers, num_visual
        Decoder layers of the model and visual tokens of an image.
    **overrides
        Fields of the method's dataclass, e.g. ``raters="all_text"`` or ``seed=1``; for SparseVLM,
        FastV, Random and Uniform also ``layers``, to cut after other ones.

    Returns
    -------
    Pruner
        Meets the budget within one token, where the method's ``meets_budget`` says so.

    Raises
    ------
    ValueError
        For an unknown method or option, and for an impossible budget.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    known = _options(name)
    unknown = sorted(set(overrides) - known)
    if unknown:
        options = ", ".join(sorted(known)) or "none"
        raise ValueError(f"{name} has no option {', '.join(unknown)}; its options: {options}")
    return METHODS[name].build(tokens, num_layers, num_visual, **overrides)


_KINDS = {
    "fastv": FastV, "pdrop": PyramidDrop, "tome": ToMe, "random": Random, "uniform": Uniform,
    "pooled": Pooled,
}  # fmt: skip


def options_for(name: str, num_heads: int, has_mrope: bool) -> dict[str, object]:
    """Options of a method that the model decides, for `make_pruner`.

    Parameters
    ----------
    name
        A key of `METHODS`.
    num_heads
        Attention heads of the decoder: SparseVLM+ averages at most half of few.
    has_mrope
        Whether positions have a row and a column (Qwen2-VL). Then no method renumbers: no release
        says how, and without them a token's place in the picture would be lost.
    """
    options: dict[str, object] = {}
    if name == "sparsevlm-plus":
        options["heads"] = plus_heads(num_heads)
    if has_mrope and "positions" in _options(name):
        options["positions"] = "original"
    return options


def _options(name: str) -> set[str]:
    if name.startswith("sparsevlm"):
        return {f.name for f in fields(SparseVLM)} - {"stages"} | {"layers"}
    if name not in _KINDS:
        return set()
    own = {f.name for f in fields(_KINDS[name])} - {"stages"}
    return own | {"layers"} if name in ("fastv", "random", "uniform") else own
