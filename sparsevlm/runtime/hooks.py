"""What a session puts on a model and on the caches it fills. Without its session it is inert.

Hooks, the config of a watched attention and the class of a model under `prune` are marked as ours,
so `clean` finds them whatever an interrupt left behind. Hooks of a closed session do nothing; a
cache of a closed session refuses.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sparsevlm.core.interface import phase

HOOKS = ("_forward_pre_hooks", "_forward_hooks")
# Where torch notes how a hook wants to be called.
NOTES = (
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
ORIGINAL, MARK = "sparsevlm_original", "sparsevlm_filled"


class HookOwner(Protocol):
    """What is asked of a session here; see `PruningSession`."""

    open: bool
    thread: int
    current: Any
    generation: Any
    generating: Callable


class Hook:
    """A hook of one session. A copy of the model, or a pickle of it, gets an inert one."""

    def __init__(self, session: HookOwner | None, function: Callable | None = None) -> None:
        self.session, self.function = session, function

    @phase("hooks")
    def __call__(self, *args: object) -> object:
        if self.session is None or self.function is None or not self.session.open:
            return None
        return self.function(*args)

    def __reduce__(self) -> tuple:
        return Hook, (None,)


def clean(modules: Iterable[nn.Module], session: HookOwner | None = None) -> None:
    """Take off modules what a session put on them.

    Parameters
    ----------
    modules
        Those it may have touched.
    session
        Whose hooks go; ``None``: all of ours, and a replaced forward of `capture` too.
    """
    # By the marks and not by torch's handles: these know the hooks by weak references, which the
    # garbage collector clears before it closes a session that it found in a reference cycle.
    for module in modules:
        for hooks in (getattr(module, name) for name in HOOKS):
            for key, hook in list(hooks.items()):
                if isinstance(hook, Hook) and session in (None, hook.session):
                    for name in NOTES:
                        getattr(module, name).pop(key, None)
                    hooks.pop(key, None)
        config = vars(module).get("config")
        if hasattr(config, ORIGINAL) and session in (None, config.sparsevlm_sink.session):
            module.config = getattr(config, ORIGINAL)
        if session is None:
            restore_class(module)
            if hasattr(vars(module).get("forward"), ORIGINAL):
                del module.forward


def watched_config(original: Any, attention: str, sink: Hook) -> Any:
    """A copy of an attention's config under another kernel; a copy of the copy is the original.

    Parameters
    ----------
    original
        The config.
    attention
        Name of the kernel.
    sink
        What the kernel reports to.
    """
    config = copy.copy(original)
    config.sparsevlm_original, config.sparsevlm_sink = original, sink
    config._attn_implementation = attention
    config.__class__ = _watched_class(type(original))
    return config


@functools.cache
def _watched_class(kind: type) -> type:
    def reduce(self: Any, protocol: int) -> tuple:
        return _same, (self.sparsevlm_original,)

    return type(kind.__name__, (kind,), {"__reduce_ex__": reduce})


def _same(config: object) -> object:
    return config


@functools.cache
def pruned_class(kind: Any, session_of: Callable[[nn.Module], HookOwner | None]) -> type:
    """The class of a model whose `generate` tells the open session of what it is about to run.

    Parameters
    ----------
    kind
        The model's own class, which its copies have again.
    session_of
        Finds the open session.
    """

    @functools.wraps(kind.generate)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        session, own = session_of(self), kind.generate.__get__(self)
        return own(*args, **kwargs) if session is None else session.generating(own, *args, **kwargs)

    # Everything that `generate` is told, and the defaults of the model, come together here.
    def prepare(self: Any, *args: Any, **kwargs: Any) -> tuple:
        found, session = kind._prepare_generation_config(self, *args, **kwargs), session_of(self)
        if session is None:
            return found
        if session.generation is None:
            raise RuntimeError(
                "this generate() is not that of the pruned model: it was taken from the model "
                "before prune(), or from its class. Call model.generate() inside the with block"
            )
        session.generation.check(found[0])
        return found

    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        if session_of(self) is None:
            return kind.generate_batch(self, *args, **kwargs)
        raise ValueError(
            "prune() cannot prune generate_batch(): continuous batching lays all prompts end to "
            "end and takes them in parts; call generate() with a left-padded batch"
        )

    def reduce(self: Any, protocol: int) -> tuple:
        _, _, *state = kind.__reduce_ex__(self, protocol)
        return _blank, (kind,), *state

    content = {
        ORIGINAL: kind, "generate": generate, "generate_batch": refuse, "__reduce_ex__": reduce,
        "_prepare_generation_config": prepare,
        "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__,
    }  # fmt: skip
    return type(kind.__name__, (kind,), content)


def restore_class(model: nn.Module) -> None:
    """Give a model its own class again."""
    model.__class__ = getattr(type(model), ORIGINAL, type(model))


def _blank(kind: type) -> Any:
    return kind.__new__(kind)


class Filled:
    """What a layer of a cache remembers of the prefill that filled it; its copies do too.

    Attributes
    ----------
    session
        Under which it was filled; a function, as of a weak reference.
    prefill
        Its prompt; ``None`` in a cache that was pickled.
    ids
        ``[batch, tokens]`` that the cache stands for, where calls had them; in its first layer.
    rows
        ``[batch]`` rows of the prefill that the cache's rows are now; ``None``: the same.
    turns
        See `SampleTrace`.
    """

    def __init__(
        self, session: Callable[[], HookOwner | None], prefill: Any, ids: Any = None,
        rows: Any = None, turns: int = 1,
    ) -> None:  # fmt: skip
        self.session, self.prefill, self.ids, self.rows = session, prefill, ids, rows
        self.turns = turns

    def check(self) -> None:
        """Check that the call now running is one of the session's, about this prompt.

        Raises
        ------
        RuntimeError
            If it is not, and the layers hold different tokens.
        """
        if self.prefill is not None and self.prefill.complete and not self.prefill.dropped:
            return  # a cache like any other
        session = self.session()
        if session is None or not session.open or session.current is not self.prefill:
            raise RuntimeError(
                "this cache was filled under prune(), so its layers hold different tokens: it can "
                "be continued by that model inside the same with block only. Run the prompt again, "
                "or keep the block open (a thread that streams has to end before it)"
            )

    def chosen(self, indices: Tensor) -> Filled:
        """The same for some of the rows, or for all of them in another order."""
        ids, rows = (
            None if one is None else one.index_select(0, indices.to(one.device))
            for one in (self.ids, self.rows)
        )
        return Filled(
            self.session, self.prefill, ids, indices if rows is None else rows, self.turns
        )

    def __deepcopy__(self, memo: dict) -> Filled:
        return Filled(self.session, self.prefill, self.ids, self.rows, self.turns)

    def __reduce__(self) -> tuple:
        return Filled, (_nobody, None)


def _nobody() -> None:
    return None


@functools.cache
def _filled_class(kind: Any) -> type:
    def update(self: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if self.get_seq_length() > 0:  # else it is new, or was reset
            getattr(self, MARK).check()
        return kind.update(self, *args, **kwargs)

    def choosing(name: str) -> Callable:
        def choose(self: Any, indices: Tensor) -> None:
            getattr(kind, name)(self, indices)
            vars(self)[MARK] = vars(self)[MARK].chosen(indices)

        return choose

    def reduce(self: Any, protocol: int) -> tuple:
        return _empty, (kind,), vars(self)

    content = {ORIGINAL: kind, "update": update, "__reduce_ex__": reduce}
    content |= {name: choosing(name) for name in ("reorder_cache", "batch_select_indices")}
    return type(kind.__name__, (kind,), content)


def _empty(kind: type) -> Any:
    return _blank(_filled_class(kind))


def mark_filled(cache: DynamicCache, prefill: Any, session: HookOwner, ids: Tensor | None) -> None:
    """Note in the layers of a cache what fills them; they refuse calls that are not the session's.

    Parameters
    ----------
    cache
        An empty one; the layers that it has not made yet are made.
    prefill, session, ids
        See `Filled`.
    """
    # As many as run: with an early exit the config says fewer than there are.
    decoder = prefill.decoder
    running = len(decoder.layers[: decoder.config.num_hidden_layers])
    cache.layers += [DynamicLayer() for _ in range(running - len(cache.layers))]
    for index, layer in enumerate(cache.layers):
        if MARK not in vars(layer):
            layer.__class__ = _filled_class(type(layer))
        mark = Filled(weakref.ref(session), prefill, ids if index == 0 else None)
        vars(layer)[MARK] = mark


def filled(cache: Any) -> Filled | None:
    """What a cache remembers of its prefill, in its first layer."""
    return vars(cache.layers[0]).get(MARK)
