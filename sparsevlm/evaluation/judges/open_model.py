"""A judge that runs here: an open chat model at a fixed revision, decoded greedily."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sparsevlm.evaluation.judges.chat import ChatJudge, Keep
from sparsevlm.evaluation.judges.requests import JudgeError
from sparsevlm.evaluation.judges.transcripts import Messages, Reply

# The judge that is used unless another is named: Apache-2.0, 15.2 GB in bfloat16.
MODEL = "Qwen/Qwen2.5-7B-Instruct"
REVISION = "a09a35458c702b33eeacc393d103063234e8bc28"
_SHA1 = re.compile(r"[0-9a-f]{40}")
_PART = 1 << 24  # bytes read at a time
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
    batch : int
        Conversations in one forward pass. 1 is the reference: with more, padding changes the last
        digits, and the same question may get another reply in another batch.
    """

    model: str = MODEL
    revision: str = REVISION
    device: str = "cpu"
    dtype: str = "bfloat16"
    batch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
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
        total = hashlib.sha256()
        for path in sorted({path for pattern in _READ for path in self._folder.glob(pattern)}):
            total.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while part := file.read(_PART):
                    total.update(part)
        return total.hexdigest()

    def asked(self) -> dict:
        """Return model, revision and settings; a folder by its name and contents, not its place."""
        return {
            "kind": "open",
            "model": self._folder.resolve().name if self._folder else self.model,
            "revision": self._contents if self._folder else self.revision,
            "dtype": self.dtype,
            "batch": self.batch,
            "max_tokens": self.longest,
        }

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """Return 0: nobody is paid."""
        return 0.0

    @cached_property
    def _loaded(self) -> tuple:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = {"trust_remote_code": False} | (
            {} if self._folder else {"revision": self.revision}
        )
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left", **source)
            model = AutoModelForCausalLM.from_pretrained(
                self.model, dtype=getattr(torch, self.dtype), use_safetensors=True, **source
            )
        except (OSError, ValueError) as error:
            raise JudgeError(
                f"cannot load the judge {self.model} at {self.revision or 'this folder'}: {error}"
            ) from error
        if not tokenizer.chat_template:
            raise JudgeError(f"{self.model} has no chat template; a judge must be a chat model")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer, model.to(self.device).eval()

    def ask(self, conversations: Sequence[Messages], keep: Keep) -> dict[int, str]:
        """Have all conversations answered, batch by batch.

        Raises
        ------
        JudgeError
            The model cannot be loaded, or is no chat model.
        """
        for start in range(0, len(conversations), self.batch):
            texts = self._answers(conversations[start : start + self.batch])
            for index, text in enumerate(texts, start):
                keep(index, Reply(text))
        return {}

    def _answers(self, conversations: Sequence[Messages]) -> list[str]:
        import torch

        tokenizer, model = self._loaded
        prompts = [
            tokenizer.apply_chat_template(list(m), tokenize=False, add_generation_prompt=True)
            for m in conversations
        ]
        # The template has put all special tokens in.
        inputs = tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs["input_ids"].to(self.device),
                attention_mask=inputs["attention_mask"].to(self.device),
                max_new_tokens=self.longest,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
