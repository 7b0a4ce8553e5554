"""What a pruner gets to see of one sample at a cut; what few look at is cut out on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from torch import Tensor

from sparsevlm.contract import View
from sparsevlm.layout import Sample


def _on_demand(name: str) -> cached_property:
    return cached_property(lambda view: view._parts[name]())


class LazyView(View):
    """A `View` of which some parts are functions until they are looked at.

    Parameters
    ----------
    parts
        Functions by name of the part.
    **known
        All other fields of `View`.
    """

    source = _on_demand("source")
    text = _on_demand("text")
    inputs_visual = _on_demand("inputs_visual")
    inputs_text = _on_demand("inputs_text")
    rotary_visual = _on_demand("rotary_visual")
    rotary_text = _on_demand("rotary_text")

    def __init__(self, parts: Mapping[str, Callable[[], object]] | None = None, **known) -> None:
        # Frozen for everybody else.
        self.__dict__.update(known, _parts=parts or {})


def view_of(
    sample: Sample,
    hidden: Tensor,
    inputs: Tensor,
    *,
    layer: int,
    num_layers: int,
    grid: tuple[int, ...] | None,
    rotary: Callable[[], tuple[Tensor, Tensor]],
    rows: Callable[[Tensor, slice], Tensor],
    mean: Callable[[slice], Tensor],
    prompt_key: Callable[[], int],
    static: bool = False,
) -> View:
    """The read-only view of one sample. ``hidden``, ``inputs`` and the rotary tables (cosines and
    sines of the current tokens) come without padding.
    """
    columns, text = sample.columns, sample.columns.stop
    prompt = slice(text, text + sample.prompt_text)
    first_text = sample.before + sample.num_visual
    parts = {
        "source": lambda: sample.source,
        "text": lambda: hidden[prompt],
        "inputs_visual": lambda: inputs[sample.before : first_text],
        "inputs_text": lambda: inputs[first_text : first_text + sample.prompt_text],
        "rotary_visual": lambda: tuple(table[columns] for table in rotary()),
        "rotary_text": lambda: tuple(table[prompt] for table in rotary()),
    }
    return LazyView(
        parts, layer=layer, num_layers=num_layers, visual=hidden[columns],
        num_visual=sample.num_visual, grid=grid,
        attention_rows=lambda raters: rows(raters + text, columns),
        attention_mean=lambda: mean(columns), prompt_key=prompt_key,
        memo=sample.memo, static=static,
    )  # fmt: skip
