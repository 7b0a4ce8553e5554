"""A judge that is a language model: what is the same wherever the model runs, and what it wants."""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sparsevlm.evaluation.judges.interface import CostEstimate, JudgeError, Row, Verdict
from sparsevlm.evaluation.judges.prompts import Prompt, Task
from sparsevlm.evaluation.judges.replies import FORMAT, ReplyError, spoken
from sparsevlm.evaluation.results.jsonl import JsonLines, locked, read_rows
from sparsevlm.evaluation.results.run import canonical_json, digest

Messages = Sequence[Mapping[str, str]]
Keep = Callable[[int, str, Mapping], None]

# English has about four characters a token; three, so that a price is rather too high.
CHARACTERS_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8  # of the chat template
MILLION = 1_000_000


THINKING_TOKENS = 4096  # of a reply with the thoughts before it


@dataclass(frozen=True)
class Family:
    """How the models of a family are asked, where nothing else is said, with fields of a request.

    `max_tokens` is of a reply, thoughts included, None for what the task needs; `limit_field` is
    the field that holds it.
    """

    max_tokens: int | None = None
    limit_field: str = "max_tokens"
    options: Mapping = field(default_factory=lambda: {"temperature": 0.0})


# The first whose pattern begins the name; a model that thinks needs room for its thoughts.
_FAMILIES = {
    r"gpt-[5-9]|o\d\b": Family(THINKING_TOKENS, "max_completion_tokens", {}),
    r"gpt-oss|qwq|qwen3(?!.*(instruct|coder))|deepseek-r|magistral|.*(thinking|reason|-r1\b)":
        Family(THINKING_TOKENS),
}  # fmt: skip


def family_of(model: str) -> Family:
    """Return the family of a model by its name, whatever provider or folder stands before it."""
    name = model.rstrip("/").rpartition("/")[2].lower()
    return next((f for pattern, f in _FAMILIES.items() if re.match(pattern, name)), Family())


def key_of(messages: Messages) -> str:
    """Return what identifies a conversation."""
    return digest(canonical_json([dict(message) for message in messages]))


class Transcript:
    """What one judge said, kept on the disk so that nothing is asked twice.

    `asked` identifies who is asked, and how; it is the header of the file.

    Attributes
    ----------
    replies : dict
        By the key of their conversation: the text, and whether it ended at the limit of tokens.
    """

    def __init__(self, folder: Path, asked: Mapping) -> None:
        self.path = Path(folder) / f"{digest(canonical_json(asked))}.jsonl"
        self._header, self._adding, self._file = {"judge": asked}, threading.Lock(), None
        self.replies = self._by_key(read_rows(self.path, self._header))

    def _by_key(self, rows: Sequence[Mapping]) -> dict[str, tuple[str, bool]]:
        try:
            return {
                row["key"]: (row["reply"], row["details"].get("end") == "length") for row in rows
            }
        except KeyError as error:
            raise JudgeError(f"{self.path} is damaged, an entry has no {error}; move it") from None

    @contextmanager
    def writing(self) -> Iterator[Transcript]:
        """Let this process, and no other, add replies.

        Raises
        ------
        JudgeError
            Another process asks this judge.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        busy = f"another process asks this judge ({self.path.stem}); let it finish, then try again"
        kept = "What the judge said before is kept."
        with (
            locked(self.path.with_suffix(".lock"), JudgeError(busy)),
            closing(JsonLines(self.path, self._header, lambda: kept)) as self._file,
        ):
            self.replies = self._by_key(self._file.rows)
            yield self

    def add(self, messages: Messages, text: str, details: Mapping) -> None:
        """Keep a reply; it is on the disk when this returns. May be called from any thread."""
        row = {"key": key_of(messages), "messages": [dict(message) for message in messages]}
        row |= {"reply": text, "details": dict(details)}
        with self._adding:
            self._file.append([row])
            self.replies |= self._by_key([row])


@dataclass(frozen=True, kw_only=True)
class ChatJudge(ABC):
    """Asks a model, keeps what it says, reads it, and asks again where it cannot be read.

    Attributes
    ----------
    folder : Path
        Of the transcripts.
    prompt : Prompt
        Default: the task's own.
    reading : str
        How replies are read, one of the task's `readings`; default: its first. For videos
        "official", as the paper's scripts read them, or "strict".
    tries : int
        How often a conversation is asked, with reminders, until its reply can be read.
    max_tokens : int
        Of a reply, thoughts included; default: what the family of the model or the task needs.
    price_in, price_out : float or None
        Of a million tokens, in any currency; None where that is not known.
    """

    task: Task
    folder: Path
    prompt: Prompt | None = None
    reading: str = ""
    tries: int = 3
    max_tokens: int | None = None
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        for name in ("prompt", "max_tokens"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.task, name))
        object.__setattr__(self, "reading", self.reading or next(iter(self.task.readings)))
        if self.reading not in self.task.readings:
            known = ", ".join(self.task.readings)
            raise ValueError(f"{self.task.name} has no reading {self.reading!r}; known: {known}")

    @abstractmethod
    def asked(self) -> dict:
        """Return what identifies who is asked, and how, as plain JSON values; never a secret."""

    @abstractmethod
    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        """Have all conversations answered, and return by index why some will not be.

        `keep` is called with index, reply and details (who served it, how many tokens it took, why
        it ended) as soon as a reply is there, from any thread.

        Raises
        ------
        JudgeError
            The judge cannot go on.
        """

    def identity(self) -> dict:
        wording = digest(canonical_json(asdict(self.prompt)))
        reading = {"task": self.task.name, "reading": self.reading, "format": FORMAT}
        return {**self.asked(), **reading, "prompt": wording, "tries": self.tries}

    def estimate(self, rows: Sequence[Row]) -> CostEstimate:
        known = Transcript(self.folder, self.asked()).replies
        conversations = _open([self.prompt.messages(row) for row in rows], known)
        characters = sum(len(m["content"]) for messages in conversations for m in messages)
        headers = TOKENS_PER_MESSAGE * sum(map(len, conversations))
        tokens_in = -(-characters // CHARACTERS_PER_TOKEN) + headers
        tokens_out = self.max_tokens * len(conversations)
        if not conversations:
            price = 0.0
        elif self.price_in is None or self.price_out is None:
            price = None
        else:
            price = (tokens_in * self.price_in + tokens_out * self.price_out) / MILLION
        return CostEstimate(len(rows), len(conversations), tokens_in, tokens_out, price)

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        found = [Verdict()] * len(rows)
        unread = range(len(rows))
        with Transcript(self.folder, self.asked()).writing() as transcript:
            for tries in range(self.tries):
                asked = {i: self.prompt.messages(rows[i], tries) for i in unread}
                refused = self._ask(list(asked.values()), transcript)
                unread = []
                for i, key in ((i, key_of(messages)) for i, messages in asked.items()):
                    if key in refused:
                        found[i] = Verdict(broken=refused[key])
                        continue
                    try:
                        found[i] = self._read(*transcript.replies[key])
                    except ReplyError as error:
                        found[i] = Verdict(broken=str(error))
                        unread.append(i)
        return found

    def _read(self, reply: str, cut_off: bool) -> Verdict:
        """Return the verdict of a reply; of one that was cut off only the first word is one."""
        read = self.task.readings[self.reading]
        if not cut_off:
            return read(reply)
        try:
            return read("".join(spoken(reply).split(maxsplit=1)[:1]))
        except ReplyError as error:
            limit = f"it was cut off at {self.max_tokens} tokens; --max-tokens gives it more"
            raise ReplyError(f"{error}, and {limit}") from None

    def _ask(self, wanted: Sequence[Messages], transcript: Transcript) -> dict[str, str]:
        """Have the new conversations answered; return by key why some are not."""
        conversations = _open(wanted, transcript.replies)
        if not conversations:
            return {}
        refused = self.ask(conversations, lambda i, *said: transcript.add(conversations[i], *said))
        return {key_of(conversations[index]): reason for index, reason in refused.items()}


def _open(conversations: Sequence[Messages], known: Mapping[str, str]) -> list[Messages]:
    """Return the conversations that have no reply yet; equal ones once."""
    by_key = {key_of(messages): messages for messages in conversations}
    return [messages for key, messages in by_key.items() if key not in known]
