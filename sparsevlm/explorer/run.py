"""What one question gave, and a session of several as a file under 1 MB."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from sparsevlm.evaluation.results.atomic import replacing
from sparsevlm.explorer.samples import Picture
from sparsevlm.explorer.view.geometry import Geometry
from sparsevlm.explorer.view.heads import Attention
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.runtime.trace import MAX_BYTES, SampleTrace, StageTrace

FORMAT = "sparsevlm-explorer-2"


@dataclass(frozen=True)
class Ask:
    """What is asked of a model, beside the picture.

    Attributes
    ----------
    question
        In words.
    method, tokens
        A key of `METHODS` and its budget; "dense" has none.
    keep, drop
        Visual tokens forced to stay or to go, ascending.
    raters
        Words that rate, in place of the method's own choice; ``None``: its own.
    """

    question: str
    method: str = "sparsevlm"
    tokens: int | None = 64
    keep: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    raters: tuple[int, ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing was changed by hand."""
        return not self.keep and not self.drop and self.raters is None

    def plain(self) -> Ask:
        """The same without the user's changes."""
        return Ask(self.question, self.method, self.tokens)


@dataclass(frozen=True)
class AnswerToken:
    """One token of an answer.

    Attributes
    ----------
    text
        As decoded.
    probability
        That the model which gave this answer gives it.
    other
        That the other of the two models, dense and pruned, gives it after the same words.
    """

    text: str
    probability: float
    other: float


@dataclass(frozen=True)
class Model:
    """Which model answered.

    Attributes
    ----------
    name, revision
        As loaded; the revision identifies the weights of the bundled miniature, else "".
    marker
        A line to show with every picture, or "".
    sizes, bytes_per_value
        For the accounting.
    """

    name: str
    revision: str
    marker: str
    sizes: ModelSizes
    bytes_per_value: int


@dataclass(frozen=True)
class Run:
    """One question answered by one method, and the life of every visual token.

    Attributes
    ----------
    ask
        What was asked.
    pruner
        The pruner's canonical settings.
    words
        The text after the image, as the raters index it.
    relevance
        Of every word to the image: what the choice of raters goes by.
    sample
        The trace.
    num_text
        Text tokens of the prompt, before and after the image.
    dense, pruned
        The answers of the dense model and under the method.
    attention
        Of the raters, or of the last word for a method without raters.
    """

    ask: Ask
    pruner: dict
    words: tuple[str, ...]
    relevance: tuple[float, ...]
    sample: SampleTrace
    num_text: int
    dense: tuple[AnswerToken, ...]
    pruned: tuple[AnswerToken, ...]
    attention: Attention | None

    @property
    def raters(self) -> tuple[int, ...]:
        """Words that rated; none for a method without raters."""
        return tuple(self.sample.stages[0].raters) if self.sample.stages else ()


@dataclass(frozen=True)
class Session:
    """Runs about one picture and one model."""

    model: Model
    picture: Picture
    geometry: Geometry
    runs: tuple[Run, ...]

    def save(self, path: Path) -> Path:
        """Write a gzipped JSON file, whole or not at all.

        Raises
        ------
        ValueError
            If it would be larger than 1 MB.
        """
        content = {
            "format": FORMAT,
            "model": asdict(self.model),
            "picture": _picture_row(self.picture),
            "geometry": asdict(self.geometry),
            "runs": [_run_row(run) for run in self.runs],
        }
        data = gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0)
        if len(data) > MAX_BYTES:
            raise ValueError(
                f"a session of {len(self.runs)} runs takes {len(data)} bytes, more than "
                f"{MAX_BYTES}; save fewer runs, or a smaller picture"
            )
        with replacing(Path(path)) as partial:
            partial.write_bytes(data)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Session:
        """Read a file of `save`.

        Raises
        ------
        ValueError
            If it is no complete session; FileNotFoundError if there is none.
        """
        try:
            content = json.loads(gzip.decompress(Path(path).read_bytes()))
            if content["format"] != FORMAT:
                raise KeyError(content["format"])
            model = content["model"]
            return cls(
                Model(**{**model, "sizes": ModelSizes(**model["sizes"])}),
                _picture(content["picture"]),
                _geometry(content["geometry"]),
                tuple(_run(row) for row in content["runs"]),
            )
        except FileNotFoundError:
            raise
        except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a complete explorer session ({FORMAT}); share it again"
            ) from error


def _picture_row(picture: Picture) -> dict:
    frames = [base64.b64encode(image_bytes(frame)).decode() for frame in picture.frames]
    return {"title": picture.title, "name": picture.name, "frames": frames}


def image_bytes(image: Image.Image) -> bytes:
    """A small picture exactly, as PNG; a large one, a photograph, as JPEG."""
    kind = {"format": "PNG"} if max(image.size) <= 128 else {"format": "JPEG", "quality": 88}
    buffer = io.BytesIO()
    image.save(buffer, **kind)
    return buffer.getvalue()


def _picture(row: dict) -> Picture:
    opened = [Image.open(io.BytesIO(base64.b64decode(data))) for data in row["frames"]]
    return Picture(row["title"], tuple(image.convert("RGB") for image in opened), row["name"])


def _geometry(row: dict) -> Geometry:
    return Geometry(tuple(row["grid"]), tuple(row["size"]), tuple(row["box"]), row["num_visual"])


def _run_row(run: Run) -> dict:
    attention = None if run.attention is None else run.attention.to_json()
    return {**asdict(replace(run, attention=None)), "attention": attention}


def _run(row: dict) -> Run:
    sample, ask = row["sample"], row["ask"]
    grid = None if sample["grid"] is None else tuple(sample["grid"])
    stages = [StageTrace(**stage) for stage in sample["stages"]]
    raters = None if ask["raters"] is None else tuple(ask["raters"])
    lists = {"keep": tuple(ask["keep"]), "drop": tuple(ask["drop"]), "raters": raters}
    attention = None if row["attention"] is None else Attention.from_json(row["attention"])
    return Run(
        Ask(**{**ask, **lists}),
        row["pruner"],
        tuple(row["words"]),
        tuple(row["relevance"]),
        SampleTrace(**{**sample, "grid": grid, "stages": stages}),
        row["num_text"],
        _answer(row["dense"]),
        _answer(row["pruned"]),
        attention,
    )


def _answer(rows: Sequence[dict]) -> tuple[AnswerToken, ...]:
    return tuple(AnswerToken(**row) for row in rows)
