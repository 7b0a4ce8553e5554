"""A judge that runs here: an open chat model at a fixed revision, decoded greedily."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sparsevlm.evaluation.judges.chat import ChatJudge, Keep, Messages, family_of
from sparsevlm.evaluation.judges.interface import JudgeError
from sparsevlm.evaluation.results.run import digest

# The judge that is used unless another is named: Apache-2.0, 15.2 GB in bfloat16.
MODEL = "Qwen/Qwen2.5-7B-Instruct"
REVISION = "a09a35458c702b33eeacc393d103063234e8bc28"
_SHA1 = re.compile(r"[0-9a-f]{40}")
_READ = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # what decides an answer


@dataclass(frozen=True, kw_only=True)
class OpenJudge(ChatJudge):
    """Asks a causal language model of transformers with a chat template.

    Attributes
    ----------
    model : str
        Hub id, or a local folder in the hub's layout.
    revision : str
        Of a hub id: the full hash of a commit, because a branch moves. Of a folder: "", its files
        are hashed instead.
    device, dtype : str
        As torch names them.
    """

    model: str = MODEL
    revision: str = REVISION
    device: str = "cpu"
    dtype: str = "bfloat16"
    price_in: float | None = 0.0  # it runs here and costs nothing
    price_out: float | None = 0.0

    def __post_init__(self) -> None:
        if self.max_tokens is None:
            object.__setattr__(self, "max_tokens", family_of(self.model).max_tokens)
        super().__post_init__()
        if self._folder and self.revision:
            raise ValueError(f'a local folder has no revision, leave it ""; got {self.revision!r}')
        if not self._folder and not _SHA1.fullmatch(self.revision):
            raise ValueError(
                f"{self.model} is no folder here; of a model of the hub, `revision` must be the "
                f"full hash of a commit (40 hexadecimal digits), got {self.revision!r}"
            )

    @property
    def _folder(self) -> Path | None:
        return Path(self.model) if Path(self.model).is_dir() else None

    @cached_property
    def _contents(self) -> str:
        """Digest of the files of a local folder."""
        from huggingface_hub.utils.sha import sha_fileobj

        parts = []
        for path in sorted({path for pattern in _READ for path in self._folder.glob(pattern)}):
            with path.open("rb") as file:
                parts += [path.name, sha_fileobj(file)]
        return digest(*parts)

    def asked(self) -> dict:
        # A folder is known by its name and contents, not by its place.
        return {
            "kind": "open",
            "model": self._folder.resolve().name if self._folder else self.model,
            "revision": self._contents if self._folder else self.revision,
            "dtype": self.dtype,
            "max_tokens": self.max_tokens,
        }

    @cached_property
    def _pipeline(self):
        from transformers import pipeline

        try:
            found = pipeline(
                "text-generation",
                self.model,
                revision=self.revision or None,
                device=self.device,
                dtype=self.dtype,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            raise JudgeError(
                f"cannot load the judge {self.model} at {self.revision or 'this folder'}: {error}"
            ) from error
        if not found.tokenizer.chat_template:
            raise JudgeError(f"{self.model} has no chat template; a judge must be a chat model")
        return found

    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        tokenizer = self._pipeline.tokenizer
        for index, messages in enumerate(conversations):  # one by one: padding changes last digits
            (one,) = self._pipeline(
                list(messages),
                max_new_tokens=self.max_tokens,
                do_sample=False,
                return_full_text=False,
            )
            text = one["generated_text"].strip()
            words = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            prompt = tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=False
            )
            opened = "<think>" if prompt.rstrip().endswith("<think>") else ""
            details = {"end": "length"} if words >= self.max_tokens else {}
            keep(index, opened + text, details)
        return {}
