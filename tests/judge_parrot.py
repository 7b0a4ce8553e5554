"""A judge that runs in the test's process, so that every question can be counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsevlm.benchmarks.sample import Sample
from sparsevlm.evaluation.judges.chat import ChatJudge
from sparsevlm.evaluation.judges.prompts import TASKS

GOOD = "{'pred': 'yes', 'score': 4}"
VIDEO, MM_VET = TASKS["tgif"], TASKS["mmvet"]


def row(prediction="a cat", answer="a dog", id="1", question="what runs?", **fields):
    """A row of a record, as far as a judge reads it."""
    sample = Sample(id=id, media="clip:0", question=question, answer=answer, **fields)
    return {**sample.to_json(), "prediction": prediction}


@dataclass(frozen=True, kw_only=True)
class Parrot(ChatJudge):
    """Replies with what its script has for the answer, one entry a try; a text refuses."""

    price_in: float = 1000.0
    price_out: float = 1000.0
    script: dict = field(default_factory=dict)
    asked_for: list = field(default_factory=list)

    def asked(self):
        return {"kind": "parrot"}

    def ask(self, conversations, keep):
        refused = {}
        for index, messages in enumerate(conversations):
            content = messages[-1]["content"]
            self.asked_for.append(content)
            name = content.split("Answer to grade: ")[1].split("\n")[0]
            reply = self.script.get(name, [GOOD])[content.count(self.prompt.reminder)]
            if isinstance(reply, Exception):
                raise reply
            if reply.startswith("refused"):
                refused[index] = reply
            else:
                keep(index, reply, {})
        return refused
