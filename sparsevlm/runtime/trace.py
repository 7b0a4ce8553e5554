"""What survived, where and why: enough to redraw every survivor figure without a model."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sparsevlm.core.interface import Selection
    from sparsevlm.runtime.layout import ImageLayout, SampleLayout

FORMAT = "sparsevlm-trace-2"
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class StageTrace:
    """One stage of one image. All indices are ORIGINAL ones, of its tokens before any stage.

    Attributes
    ----------
    layer
        0-based layer after which tokens were dropped.
    kept
        Original visual tokens that are still there as themselves.
    groups, group_ids
        Every recycled token that is there after it, as the list of original visual tokens
        merged into it (also through earlier merges), and its id (``num_visual + j``). Empty for a
        token that is made of none, such as VisionZip's CLS token.
    scores, score_ids
        Score of every visual token before it (higher = keep), and whose it is: an original
        index, or the id of a recycled token. Empty for a method without scores.
    raters
        Positions in the text (see `Pruner.text`) that rated, earlier turns counted. Empty for a
        method without raters.
    num_left
        Visual tokens after it: ``len(kept) + len(groups)``.
    """

    layer: int
    kept: list[int]
    groups: list[list[int]]
    group_ids: list[int]
    scores: list[float]
    score_ids: list[int]
    raters: list[int]
    num_left: int


@dataclass(frozen=True)
class SampleTrace:
    """One image of a sample, or a sample without any.

    Attributes
    ----------
    num_visual, grid
        Visual tokens before any stage; (rows, columns), or (frames, rows, columns), where known.
    stages
        In order.
    tokens_in, tokens_out
        Visual tokens entering and leaving every layer, recycled ones included.
    output_index
        For every row of the model's output for this sample, all images and the text: its index in
        the input, padding included; -1 for a recycled token.
    turns
        Questions asked of these survivors: 1 is the one that chose them, and every later call on
        their cache (a `generate`, or a plain call with more than one token) is one more.
    sample, image
        Row of the batch, and which of its images. All else here is about this image alone.
    """

    num_visual: int
    grid: tuple[int, ...] | None
    stages: list[StageTrace]
    tokens_in: list[int]
    tokens_out: list[int]
    output_index: list[int] = field(default_factory=list)
    turns: int = 1
    sample: int = field(default=0, compare=False)
    image: int = 0


class Trace:
    """The record of the prefill that the last question under `prune` was answered with.

    Parameters
    ----------
    pruner
        Canonical settings of the pruner.
    samples
        Ready samples (from a file); while pruning they are filled in by `prune`.
    """

    def __init__(self, pruner: dict, samples: list[SampleTrace] | None = None) -> None:
        self.pruner = pruner
        self._samples = samples
        self._resolve: Callable[[], list[SampleTrace]] | None = None

    def record(self, resolve: Callable[[], list[SampleTrace]]) -> None:
        """Note a finished prefill, or another turn on it; resolved when first asked for."""
        self._samples, self._resolve = None, resolve

    @property
    def samples(self) -> list[SampleTrace]:
        """One `SampleTrace` per row of the last prefill; of a row with several images one of each.

        Raises
        ------
        RuntimeError
            If nothing was run yet.
        """
        if self._samples is None:
            if self._resolve is None:
                raise RuntimeError("the trace is empty: run the model inside the with block first")
            self._samples, self._resolve = self._resolve(), None
        return self._samples

    @property
    def mean_tokens_in(self) -> float:
        """Mean over layers and images of the visual tokens entering."""
        return _mean([s.tokens_in for s in self.samples if s.num_visual])

    @property
    def mean_tokens_out(self) -> float:
        """Mean over layers and images of the visual tokens left."""
        return _mean([s.tokens_out for s in self.samples if s.num_visual])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a gzipped JSON file under 1 MB, atomically, with the permissions `open` gives.

        Raises
        ------
        ValueError
            If the file would be larger than 1 MB (save fewer samples at a time).
        """
        content = {
            "format": FORMAT,
            "pruner": self.pruner,
            "samples": [asdict(sample) for sample in self.samples],
        }
        text = json.dumps(content, separators=(",", ":"))
        data = gzip.compress(text.encode(), mtime=0)
        if len(data) > MAX_BYTES:
            raise ValueError(
                f"the trace of {len(self.samples)} samples takes {len(data)} bytes, more than "
                f"{MAX_BYTES}; save fewer samples at a time"
            )
        path = Path(path)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(data)
            with suppress(FileNotFoundError):
                shutil.copymode(path, partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a file of `save`.

        Raises
        ------
        ValueError
            If the file is not a complete trace.
        """
        try:
            content = json.loads(gzip.decompress(Path(path).read_bytes()))
            if content["format"] != FORMAT:
                raise KeyError(content["format"])
            # Traces of prompts with one image were written without the number of the row.
            samples = [_sample({"sample": n, **row}) for n, row in enumerate(content["samples"])]
            return cls(content["pruner"], samples)
        except (gzip.BadGzipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a complete trace file ({FORMAT}); write it again with Trace.save"
            ) from error


def _sample(row: dict) -> SampleTrace:
    grid = None if row["grid"] is None else tuple(row["grid"])
    stages = [StageTrace(**stage) for stage in row["stages"]]
    return SampleTrace(**{**row, "grid": grid, "stages": stages})


def _mean(per_sample: list[list[int]]) -> float:
    if not per_sample:
        raise RuntimeError("no sample of the last prefill has an image")
    return sum(sum(counts) / len(counts) for counts in per_sample) / len(per_sample)


@dataclass(frozen=True)
class Decision:
    """What was selected at a stage for an image, or one in each of some samples; read on demand."""

    layer: int
    before: ImageLayout
    after: ImageLayout
    selection: Selection


def sample_trace(
    last: SampleLayout,
    number: int,
    index: int,
    decisions: Sequence[Decision],
    *,
    row: int,
    num_layers: int,
    counted_layer: str,
    turns: int = 1,
) -> SampleTrace:
    """Trace of one image.

    Parameters
    ----------
    last
        Layout of its sample after the last stage, or of the samples decided for at once.
    number
        Which image of the sample.
    index
        Which of the samples.
    decisions
        About it, in order.
    row
        Of the batch.
    num_layers, counted_layer
        See `schedule.tokens_per_layer`.
    turns
        See `SampleTrace`.
    """
    tokens, grid = last.images[number].picture[:2] if last.images else (0, None)
    members, silent = {token: [token] for token in range(tokens)}, last.silent(number)
    stages = [_stage_trace(decision, index, members, silent) for decision in decisions]
    left = {decision.layer: decision.after.visual for decision in decisions}
    current, tokens_in, tokens_out = tokens, [], []
    for layer in range(-1, num_layers):
        entering, current = current, left.get(layer, current)
        if layer >= 0:
            tokens_in.append(entering)
            tokens_out.append(current if counted_layer == "this" else entering)
    slots = _numbers(last.slots, index)
    return SampleTrace(tokens, grid, stages, tokens_in, tokens_out, slots, turns, row, number)


def positions_of(raters: Tensor | None, index: int) -> list[int]:
    """Positions that rated, from `Selection.raters`, in one of the samples decided for at once."""
    return [place for place in _numbers(raters, index) if place >= 0]


def _numbers(values: Tensor | None, index: int) -> list:
    """Those of one sample; without a dimension for the samples they are those of each."""
    if values is None:
        return []
    return (values[index] if values.ndim > 1 else values).tolist()


def _stage_trace(
    decision: Decision, index: int, members: dict[int, list[int]], silent: int
) -> StageTrace:
    selection, before = decision.selection, decision.before
    source = _numbers(before.source, index)
    if selection.groups is not None:
        parts = selection.groups.members, selection.groups.labels
        merged = zip(*(_numbers(part, index) for part in parts), strict=True)
        created = _numbers(decision.after.created, index)
        for member, label in merged:
            if created[label] != source[member]:  # not alone
                members.setdefault(created[label], []).extend(members[source[member]])
    after = _numbers(decision.after.source, index)
    recycled = [identity for identity in after if identity >= before.num_visual]
    scores = _numbers(selection.scores, index)
    return StageTrace(
        layer=decision.layer,
        kept=sorted(identity for identity in after if identity < before.num_visual),
        groups=[sorted(members.get(identity, ())) for identity in recycled],
        group_ids=recycled,
        scores=[float(f"{value:.6g}") for value in scores],
        score_ids=source if scores else [],
        raters=[place + silent for place in positions_of(selection.raters, index)],
        num_left=len(after),
    )
