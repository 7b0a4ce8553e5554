"""What one question gave, and several of them as a file under 1 MB."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.explorer.attention import MAX_VALUES, WordAttention
from sparsevlm.explorer.geometry import Geometry
from sparsevlm.explorer.images import ImageInput
from sparsevlm.models.atomic import replacing
from sparsevlm.models.sizes import ModelSizes
from sparsevlm.runtime.trace import MAX_BYTES, SampleTrace

FORMAT = "sparsevlm-explorer-3"
COMPARED = ("sparsevlm", "fastv", "pdrop", "tome", "random", "uniform")


@dataclass(frozen=True)
class Query:
    """What is asked of a model, beside the image.

    The method is a key of `METHODS`, with its budget; "dense" has none. The visual tokens forced to
    stay (`keep`) or to go (`drop`) are ascending; `raters` are words that rate in place of the
    method's own choice, and ``None`` leaves it that.
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

    def plain(self) -> Query:
        """The same without the user's changes."""
        return Query(self.question, self.method, self.tokens)

    def compared(self) -> list[Query]:
        """The same question for every method to be compared, this one first."""
        own = "sparsevlm" if self.method.startswith("sparsevlm") else self.method
        others = [name for name in COMPARED if name != own]
        return [self, *(Query(self.question, name, self.tokens) for name in others)]

    def forced(self, tokens: Sequence[int], choice: str) -> Query:
        """The same with patches forced to "keep" or "drop", or released ("free").

        Raises
        ------
        ValueError
            For another choice.
        """
        if choice not in ("keep", "drop", "free"):
            raise ValueError(f'the choice must be "keep", "drop" or "free", got {choice!r}')
        keep, drop = set(self.keep) - set(tokens), set(self.drop) - set(tokens)
        if choice != "free":
            (keep if choice == "keep" else drop).update(tokens)
        return replace(self, keep=tuple(sorted(keep)), drop=tuple(sorted(drop)))

    def next_choice(self, token: int, is_kept: bool) -> str:
        """What a click on a patch does: release a forced one, else the opposite of what is seen."""
        if token in self.keep or token in self.drop:
            return "free"
        return "drop" if is_kept else "keep"


@dataclass(frozen=True)
class AnswerToken:
    """One token of an answer, as decoded.

    `probability` is what the model that gave the answer gives it, `other` what the other of the
    two, dense and pruned, gives it after the same words.
    """

    text: str
    probability: float
    other: float


@dataclass(frozen=True)
class ModelInfo:
    """Which model answered, with its sizes for the accounting.

    The revision identifies the weights; the marker is a line to show with every image, or "".
    """

    name: str
    revision: str
    marker: str
    sizes: ModelSizes
    bytes_per_value: int


@dataclass(frozen=True)
class Exploration:
    """One question answered by one method, and what became of every visual token.

    Attributes
    ----------
    pruner
        The pruner's canonical settings.
    words
        The text after the image, as the raters index it.
    relevance
        Of every word to the image: by this the raters are chosen.
    num_text
        Text tokens of the prompt, before and after the image.
    dense, pruned
        The answers of the dense model and under the method.
    attention
        Of the words to the visual tokens; a file may have room for the raters' alone.
    """

    query: Query
    pruner: dict
    words: tuple[str, ...]
    relevance: tuple[float, ...]
    trace: SampleTrace
    num_text: int
    dense: tuple[AnswerToken, ...]
    pruned: tuple[AnswerToken, ...]
    attention: WordAttention

    @property
    def raters(self) -> tuple[int, ...]:
        """Words that rated; none for a method without raters."""
        return tuple(self.trace.stages[0].raters) if self.trace.stages else ()

    @property
    def title(self) -> str:
        """Method and budget, and all that was changed by hand."""
        query = self.query
        budget = (
            "" if query.tokens is None or query.method == "dense" else f", {query.tokens} tokens"
        )
        changed = "" if query.is_plain else f" · by hand: {self.by_hand()}"
        return METHOD_STYLE[query.method].label + budget + changed

    def by_hand(self, every: bool = False) -> str:
        """What was changed by hand, in words; with ``every`` patch by its number."""
        query, parts = self.query, []
        if query.raters is not None:
            words = " and ".join(f"“{self.words[index]}”" for index in query.raters)
            parts.append(f"{words} rate" + ("s" if len(query.raters) == 1 else ""))
        for tokens, verb in ((query.keep, "stay"), (query.drop, "go")):
            if tokens:
                patches = f"{len(tokens)} patch" + ("" if len(tokens) == 1 else "es")
                numbers = f" ({', '.join(map(str, tokens))})" if every else ""
                parts.append(f"{patches} forced to {verb}{numbers}")
        return ", ".join(parts)

    @property
    def about(self) -> str:
        """Question, method, budget and every change, for a file that is found alone."""
        plain = replace(self, query=self.query.plain()).title
        changed = self.by_hand(every=True) or "nothing"
        return f"“{self.query.question}” · {plain} · changed by hand: {changed}"

    @property
    def same_answer(self) -> bool:
        """Whether both models say the same."""
        return [t.text for t in self.dense] == [t.text for t in self.pruned]


@dataclass(frozen=True)
class SavedSession:
    """Explorations of one image with one model, as a file."""

    model: ModelInfo
    image: ImageInput
    geometry: Geometry
    explorations: tuple[Exploration, ...]

    def save(self, path: Path) -> Path:
        """Write a gzipped JSON file, atomically; a large picture is made smaller.

        What the model was asked about is kept as it is where there is room for it, see
        `ImageInput.for_file`.

        Raises
        ------
        ValueError
            If the answers alone would be larger than 1 MB.
        """
        many = len(self.explorations)
        small = tuple(
            replace(found, attention=found.attention.for_file(found.raters, MAX_VALUES // many))
            for found in self.explorations
        )
        content = {"about": [found.about for found in self.explorations]}
        content |= _FILE.dump_python(replace(self, explorations=small), exclude={"image"})
        alone = len(_file_bytes(content))
        for image in self.image.for_file():
            rows = [*image["frames"], *image.get("asked", ())]
            if alone + 3 / 4 * sum(map(len, rows)) > MAX_BYTES:  # gzip takes base64's excess back
                continue
            data = _file_bytes({**content, "image": image})
            if len(data) <= MAX_BYTES:
                break
        else:
            raise ValueError(
                f"a session of {len(small)} answers takes {alone} bytes without its picture, and "
                f"with it more than {MAX_BYTES}; save fewer answers"
            )
        with replacing(Path(path)) as partial:
            partial.write_bytes(data)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> SavedSession:
        """Read a file of `save`.

        Raises
        ------
        ValueError
            If it is no complete session; FileNotFoundError if there is none.
        """
        try:
            content = json.loads(gzip.decompress(Path(path).read_bytes()))
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            found = _FILE.validate_python(content)
            if not found.explorations:
                raise ValueError("it holds no answer")
            return found
        except FileNotFoundError:
            raise
        except (
            OSError,
            EOFError,
            zlib.error,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise ValueError(
                f"{path} is not a complete explorer session ({FORMAT}); share it again"
            ) from error


def _file_bytes(content: dict) -> bytes:
    text = json.dumps({"format": FORMAT, **content}, separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


_FILE = TypeAdapter(SavedSession)
