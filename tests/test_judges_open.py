"""The judge that runs here, on tiny random models in the hub's layout."""

from __future__ import annotations

import shutil

import pytest
import torch
from judge_parrot import row
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparsevlm.evaluation.judges.interface import JudgeError, Verdict
from sparsevlm.evaluation.judges.open_model import OpenJudge
from sparsevlm.evaluation.judges.prompts import TASKS

VIDEO = TASKS["tgif"]
WORDS = ["{'pred':'yes','score':4}", "<unk>", "<pad>", "<end>", "<user>", "<judge>"]
WORDS += "question answer correct dog cat what is there a : . yes no dictionary score pred".split()
TEMPLATE = (
    "{% for m in messages %}<user> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<judge> {% endif %}"
)


def save(folder, template=TEMPLATE, seed=0):
    """A model that says random words, and its tokenizer of whole words."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<pad>"
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, eos_token_id=3, pad_token_id=2,
        bos_token_id=None, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tiny-judge"


@pytest.fixture
def make(folder, tmp_path):
    def judge(**settings):
        settings = {"model": str(folder), "revision": "", "dtype": "float32"} | settings
        return OpenJudge(task=VIDEO, folder=tmp_path / "cache", **settings)

    return judge


def rows(count):
    answers = ["a dog", "there is a cat .", "no", "what"]
    return [row(answers[i], "dog", str(i), "what is there") for i in range(count)]


def greedy(model, tokenizer, messages, longest):
    """Token by token, without a cache and without padding."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.inference_mode():
        while ids.shape[1] < start + longest:
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
            if ids[0, -1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip()


def test_replies_are_greedy_and_do_not_depend_on_the_others(folder, make):
    model = save(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    conversations = [VIDEO.prompt.messages(row) for row in rows(4)]
    kept = {}

    def keep(index, text, details):
        kept[index] = text

    assert make(max_tokens=6).ask(conversations, keep) == {}
    texts = [greedy(model, tokenizer, messages, 6) for messages in conversations]
    assert [kept[i] for i in range(4)] == texts
    assert len(set(texts)) > 1


def test_a_judge_that_says_yes(folder, make):
    model = save(folder)
    torch.nn.init.zeros_(model.model.norm.weight)  # all words are equally likely: the first one
    model.save_pretrained(folder)
    assert make(max_tokens=1).verdicts(rows(3)) == [Verdict(pred="yes", score=4)] * 3


def test_thoughts_that_the_template_opens_and_the_limit_cuts_off_are_no_verdict(folder, make):
    model = save(folder, template=TEMPLATE.replace("<judge> ", "<judge> <think>\n"))
    torch.nn.init.zeros_(model.model.norm.weight)  # it thinks of one verdict again and again
    model.save_pretrained(folder)
    (verdict,) = make(max_tokens=9).verdicts(rows(1))
    assert "lacks pred and score, and it was cut off at 9 tokens" in verdict.broken
    assert make(model=str(folder)).max_tokens == 64
    thinking = folder.rename(folder.with_name("Qwen3-8B"))
    assert make(model=str(thinking)).max_tokens == 4096


def test_a_folder_is_known_by_its_contents_not_its_place(folder, make, tmp_path):
    save(folder)
    before = make().identity()
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    (moved / "README.md").write_text("says nothing")
    assert make(model=str(moved)).identity() == before
    assert str(tmp_path) not in str(before)
    save(folder, seed=1)
    assert make().identity() != before


def test_settings_identify_the_judge(folder, make):
    save(folder)
    judges = [make(), make(dtype="bfloat16"), make(max_tokens=3)]
    assert len({str(judge.identity()) for judge in judges}) == len(judges)
    assert make(device="cuda").identity() == make().identity()


def test_nothing_is_paid(folder, make):
    save(folder)
    estimate = make().estimate(rows(2))
    assert (estimate.to_ask, estimate.price) == (2, 0.0)


def test_a_model_of_the_hub_needs_a_full_revision(make, folder):
    for revision in ("main", "", "a09a354"):
        with pytest.raises(ValueError, match="full hash of a commit"):
            make(model="some/judge", revision=revision)
    save(folder)
    with pytest.raises(ValueError, match="a local folder has no revision"):
        make(revision="0" * 40)


def test_a_model_that_is_no_chat_model_or_not_whole_is_refused(folder, make):
    save(folder, template=None)
    with pytest.raises(JudgeError, match="has no chat template"):
        make().verdicts(rows(1))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(JudgeError, match="cannot load the judge"):
        make().verdicts(rows(1))
