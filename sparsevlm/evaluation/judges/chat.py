"""A judge that is a language model: what is the same wherever the model runs."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sparsevlm.evaluation.judges.prompts import Prompt, Task
from sparsevlm.evaluation.judges.replies import ReplyError
from sparsevlm.evaluation.judges.requests import Estimate, JudgeRequest, Verdict
from sparsevlm.evaluation.judges.transcripts import (
    Messages,
    Reply,
    Transcripts,
    key_of,
    known_replies,
    transcripts,
)
from sparsevlm.evaluation.results.run import canonical_json, digest

Keep = Callable[[int, Reply], None]

# English has about four characters a token; three, so that a price is rather too high.
CHARACTERS_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8  # of the chat template


@dataclass(frozen=True, kw_only=True)
class ChatJudge(ABC):
    """Asks a model, keeps what it says, reads it, and asks again where it cannot be read.

    Attributes
    ----------
    task : Task
        Video questions or MM-Vet.
    folder : Path
        Of the transcripts.
    prompt : Prompt, optional
        Default: the task's own.
    tries : int
        How often a conversation is asked, with reminders, until its reply can be read.
    max_tokens : int, optional
        Of a reply; default: the task's. A judge that thinks aloud needs more.
    report : (number of replies so far) -> None, optional
        Called as replies come, from any thread.
    """

    task: Task
    folder: Path
    prompt: Prompt | None = None
    tries: int = 3
    max_tokens: int | None = None
    report: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        if self.tries < 1 or self.longest < 1:
            raise ValueError(
                f"tries and max_tokens must be at least 1: {self.tries}, {self.longest}"
            )
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "prompt", self.prompt or self.task.prompt)

    @property
    def longest(self) -> int:
        """Tokens of the longest reply."""
        return self.task.max_tokens if self.max_tokens is None else self.max_tokens

    @abstractmethod
    def asked(self) -> dict:
        """Return what identifies who is asked, and how, as plain JSON values; never a secret."""

    @abstractmethod
    def price(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return what so many tokens cost; None where that is not known."""

    @abstractmethod
    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        """Have all conversations answered, and return by index why some will not be.

        `keep` is called with index and reply as soon as a reply is there, from any thread.
        """

    def identity(self) -> dict:
        """Return all that can change a verdict."""
        wording = digest(canonical_json(asdict(self.prompt)))
        return {**self.asked(), **self.task.reading(), "prompt": wording, "tries": self.tries}

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        """Return what asking takes if every reply can be read at once."""
        known = known_replies(self.folder, self.asked())
        conversations = self._open(requests, 0, known)
        characters = sum(len(m["content"]) for messages in conversations for m in messages)
        headers = TOKENS_PER_MESSAGE * sum(map(len, conversations))
        tokens_in = -(-characters // CHARACTERS_PER_TOKEN) + headers
        tokens_out = self.longest * len(conversations)
        price = self.price(tokens_in, tokens_out) if conversations else 0.0
        return Estimate(len(requests), len(conversations), tokens_in, tokens_out, price)

    def verdicts(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order; broken ones say why.

        Raises
        ------
        JudgeError
            The judge cannot go on. What it said so far is kept.
        """
        found: list[Verdict | None] = [None] * len(requests)
        still = list(range(len(requests)))
        with transcripts(self.folder, self.asked()) as known:
            for tries in range(self.tries):
                refused = self._ask([requests[i] for i in still], tries, known)
                unread = []
                for i in still:
                    messages = self.prompt.messages(requests[i], tries)
                    if messages not in known:
                        found[i] = Verdict(broken=refused[key_of(messages)])
                        continue
                    found[i] = self._read(known[messages])
                    if found[i].broken:
                        unread.append(i)
                still = unread
        return found

    def _open(
        self, requests: Sequence[JudgeRequest], tries: int, known: Transcripts
    ) -> list[Messages]:
        """Return the conversations that nobody has answered; equal ones once."""
        wanted = {}
        for request in requests:
            messages = self.prompt.messages(request, tries)
            if messages not in known:
                wanted[key_of(messages)] = messages
        return list(wanted.values())

    def _ask(
        self, requests: Sequence[JudgeRequest], tries: int, known: Transcripts
    ) -> dict[str, str]:
        """Ask what is not known; return why some conversations are not answered."""
        conversations = self._open(requests, tries, known)
        done = itertools.count(1)

        def keep(index: int, reply: Reply) -> None:
            known.add(conversations[index], reply)
            if self.report:
                self.report(next(done))

        refused = self.ask(conversations, keep) if conversations else {}
        return {key_of(conversations[index]): reason for index, reason in refused.items()}

    def _read(self, reply: Reply) -> Verdict:
        try:
            return self.task.read(reply.text)
        except ReplyError as error:
            return Verdict(broken=str(error))
