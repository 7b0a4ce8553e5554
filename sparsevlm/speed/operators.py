"""How many operators a prefill is made of: a count, the same on every machine.

At batch 1 a fast GPU is done with an operator before Python has sent the next one, so their number
is what bounds it. Counted on tensors without values, at full size, without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from sparsevlm.core.interface import StagedPruner
from sparsevlm.speed.case import Case

# These give out memory or a look at it, and start nothing, though their schema does not say so.
_FREE = {"_unsafe_view", "empty", "empty_like", "new_empty", "empty_strided", "detach"}


class Operators(TorchDispatchMode):
    """Counts operators on tensors while it is open.

    Attributes
    ----------
    total : int
        All, views included: what Python and torch's dispatcher are busy with.
    kernels : int
        Those that compute or copy something: what a device gets to do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = self.kernels = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != "prim":  # asks a tensor without values for its device
            self.total += 1
            self.kernels += not is_free(func)
        return func(*args, **(kwargs or {}))


def is_free(operator: OpOverload) -> bool:
    """Whether an operator only gives another view, or memory."""
    views = any(
        given.alias_info is not None and not given.alias_info.is_write
        for given in operator._schema.returns
    )
    return views or operator.overloadpacket.__name__ in _FREE


def count(job: Callable[[], object], decoder: nn.Module | None = None) -> dict[str, int]:
    """Operators of a job, or only those between the beginning and the end of its decoder.

    Parameters
    ----------
    job
        Runs once, and the decoder once in it.
    decoder
        The text model. What hooks do before it runs is not counted.

    Returns
    -------
    dict
        ``total`` and ``kernels``, see `Operators`.
    """
    counted = Operators()
    with ExitStack() as stack:
        if decoder is None:
            stack.enter_context(counted)
        else:
            begin = decoder.register_forward_pre_hook(lambda *args: _begin(counted))
            end = decoder.register_forward_hook(lambda *args: counted.__exit__(None, None, None))
            stack.callback(begin.remove)
            stack.callback(end.remove)
        job()
    return {"total": counted.total, "kernels": counted.kernels}


def _begin(counted: Operators) -> None:
    # A hook that returns something would change the arguments.
    counted.__enter__()


def measure_operators(
    case: Case, budgets: Sequence[int], methods: Sequence[str]
) -> dict[str, object]:
    """Operators of the decoder's prefill: dense, the oracle's and the methods'.

    Parameters
    ----------
    case
        Of tensors with or without values.
    budgets, methods
        Every method is run at every budget, with static cuts (`prune(static=True)`).

    Returns
    -------
    dict
        ``dense``; ``budgets``: by budget, by method: ``oracle`` and ``method``; each a dict of
        ``total`` and ``kernels``.
    """
    return {
        "dense": _of(case, None),
        "budgets": {
            str(budget): {
                method: _of_method(case, case.pruner(method, budget)) for method in methods
            }
            for budget in budgets
        },
    }


def _of(case: Case, pruner: StagedPruner | None) -> dict[str, int]:
    return count(lambda: case.forward(pruner, static=True), case.decoder)


def _of_method(case: Case, pruner: StagedPruner) -> dict[str, dict[str, int]]:
    indices = case.oracle_indices(pruner)
    case.decoder_inputs()  # made at the first call
    return {
        "oracle": count(lambda: case.oracle(indices)),
        "method": _of(case, pruner),
    }
