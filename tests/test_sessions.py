"""What a session remembers belongs to its prompt, and ends with its block, however it ends."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from functools import partial

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build
from contract.test_clean import state_of
from transformers import DynamicCache, TextIteratorStreamer
from transformers.generation.streamers import BaseStreamer

import sparsevlm as sv
from sparsevlm.runtime import hooks, prune, session

FAMILY = FAMILIES["llava"]
METHODS = ("sparsevlm", "fastv", "pdrop", "tome", "random")
methods = pytest.mark.parametrize("method", METHODS)
told_or_found = pytest.mark.parametrize(
    "family", [FAMILY, FAMILIES["llama"]], ids=lambda family: family.name
)


def one(family=FAMILY, index=2):
    return family.row(family.inputs(), index)


def cut(inputs, *columns):
    """Some of the columns of a batch."""
    keep = slice(*columns)
    return {name: value[:, keep] if value.ndim == 2 else value for name, value in inputs.items()}


# --- A prompt in parts ----------------------------------------------------------------------------


@methods
def test_an_image_that_comes_after_the_cache_was_begun_is_refused(method):
    """The words before it alone would be a dense prompt."""
    model, inputs = FAMILY.model(), one()
    words = {name: inputs[name][:, :3] for name in ("input_ids", "attention_mask")}
    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs):
        cache = model(**words, use_cache=True).past_key_values
        rest = {**inputs, "input_ids": inputs["input_ids"][:, 3:]}
        with pytest.raises(ValueError, match="the image and the question in one call"):
            model(**rest, past_key_values=cache)


@methods
def test_a_span_that_the_call_does_not_reach_is_refused(method):
    family = FAMILIES["llama"]
    model, inputs = family.model(), one(family)
    pruner = build(family, method)
    with torch.no_grad(), sv.prune(model, pruner, visual_mask=(3, 147)):
        for stop in (2, 60, 146):
            with pytest.raises(ValueError, match="the image and the question in one call"):
                model(**cut(inputs, stop))


# --- Whose call it is -----------------------------------------------------------------------------


@told_or_found
@pytest.mark.parametrize("negative", [None, [[1, 10, 11, 20, 21]]], ids=["last word", "prompt"])
def test_a_pass_without_the_image_leaves_the_trace(family, negative):
    model, inputs, found = family.model(), one(family), []
    options = {} if negative is None else {"negative_prompt_ids": torch.tensor(negative)}
    for more in ({}, {"guidance_scale": 1.5, **options}):
        with family.prune(model, build(family, "sparsevlm"), inputs) as trace:
            family.generate(model, inputs, **more)
        found.append(trace.samples)
    assert found[0] == found[1] and found[0][0].stages


@methods
def test_guidance_without_a_cache_equals_guidance_with_one(method):
    model, inputs, found = FAMILY.model(), one(), []
    for use_cache in (True, False):
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            how = {"guidance_scale": 1.5, "use_cache": use_cache}
            how["negative_prompt_ids"] = torch.tensor([[1, 10, 11, 20, 21]])
            found.append(FAMILY.generate(model, inputs, **how))
    assert torch.equal(*found)


@pytest.mark.parametrize("method", ["sparsevlm", "sparsevlm-all-tokens"])
def test_several_logits_and_an_empty_cache_are_no_sign_of_generate(method):
    model, inputs = FAMILY.model(), one()
    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs) as trace:
        model(**inputs)
        want = trace.samples
        cache = DynamicCache(config=model.get_decoder().config)
        model(**inputs, past_key_values=cache, logits_to_keep=4)
        assert trace.samples == want


@pytest.mark.parametrize("method", ["sparsevlm", "sparsevlm-all-tokens"])
def test_a_plain_call_with_one_more_word_is_another_prompt(method):
    """Nothing is kept from the call before, although the words begin alike."""
    model, inputs = FAMILY.model(), one()
    shorter, found = cut(inputs, None, -1), []
    for calls in ((inputs,), (shorter, inputs)):
        with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs) as trace:
            logits = [model(**call, use_cache=False).logits for call in calls][-1]
            found.append((logits, trace.samples))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def test_a_call_inside_generate_that_is_about_other_text():
    """A processor that asks the model something else: the answer and the trace stay."""
    model, inputs = FAMILY.model(), one()
    other = {"input_ids": torch.tensor([[1, 20, 21, 22]])}
    seen = []

    def processor(ids, scores):
        seen.append(model(**other).logits)
        return scores

    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs) as trace:
        want, samples = FAMILY.generate(model, inputs), trace.samples
        assert torch.equal(FAMILY.generate(model, inputs, logits_processor=[processor]), want)
        assert trace.samples == samples
    with torch.no_grad():
        assert torch.equal(seen[0], model(**other).logits)


@pytest.mark.parametrize("how", [{"assistant_early_exit": 3}, {"assistant_early_exit": 7}])
def test_the_first_layers_assist(how):
    """Their prefill sees fewer stages: it is not the one that is traced."""
    family = FAMILIES["llama"]
    model, inputs = family.model(), one(family)
    with family.prune(model, build(family, "sparsevlm"), inputs) as trace:
        want, stages = family.generate(model, inputs), trace.samples[0].stages
        assert torch.equal(family.generate(model, inputs, **how), want)
        assert trace.samples[0].stages == stages


def test_an_early_exit_fills_the_layers_that_run(monkeypatch):
    """Else cutting off rejected words meets layers that hold nothing."""
    family = FAMILIES["llama"]
    model, inputs, cache = family.model(), one(family), DynamicCache()
    with torch.no_grad(), family.prune(model, build(family, "sparsevlm"), inputs):
        with monkeypatch.context() as patch:
            patch.setattr(model.model.config, "num_hidden_layers", 3)
            model(**inputs, past_key_values=cache)
        assert len(cache.layers) == 3
        cache.crop(-1)


def test_a_model_that_shares_the_parts_of_a_pruned_one_is_refused():
    model, inputs = FAMILY.model(), one()
    shell = copy.copy(model)
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        with pytest.raises(RuntimeError, match="shares its parts"):
            FAMILY.logits(shell, inputs)


def test_a_mask_of_another_kind_is_refused():
    model, inputs = FAMILY.model(), one()
    mask = {"full_attention": inputs["attention_mask"]}
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        with pytest.raises(ValueError, match="2-D attention_mask .*, got dict"):
            FAMILY.logits(model, {**inputs, "attention_mask": mask})


def test_a_generate_that_the_block_does_not_know_is_refused():
    """It would pass by what a session knows of a prompt, such as that it comes in chunks."""
    model, inputs = FAMILY.model(), one()
    before = model.generate
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        want = FAMILY.generate(model, inputs)
        for generate in (before, partial(type(before.__self__).__mro__[1].generate, model)):
            with pytest.raises(RuntimeError, match=r"Call model.generate\(\) inside"):
                generate(**inputs, max_new_tokens=2)
        assert torch.equal(FAMILY.generate(model, inputs), want)


@pytest.mark.parametrize("made", [{}, {"input_ids": torch.ones(9, dtype=torch.int64)}])
def test_a_call_without_a_prompt_is_refused(made):
    model = FAMILY.model()
    with sv.prune(model, build(FAMILY, "sparsevlm")):
        with pytest.raises(ValueError, match="needs input_ids"):
            model(**made)


@methods
def test_a_place_counted_from_the_end_of_the_prompt(method):
    """Not from the end of the answer so far, which comes along without a cache."""
    family = FAMILIES["llama"]
    model, inputs, found = family.model(), one(family), []
    for span in ((3, 147), [3, 147], (3, -9)):
        for use_cache in (True, False):
            with sv.prune(model, build(family, method), visual_mask=span):
                found.append(family.generate(model, inputs, use_cache=use_cache))
    assert all(torch.equal(tokens, found[0]) for tokens in found)


def test_continuous_batching_is_refused():
    model, inputs = FAMILY.model(), one()
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        with pytest.raises(ValueError, match="cannot prune generate_batch"):
            model.generate_batch(inputs["input_ids"].tolist())


# --- The end of a block ---------------------------------------------------------------------------


@methods
def test_a_generator_dropped_inside_its_block(method):
    """In a reference cycle, so that only the garbage collector finds it."""
    model, inputs = FAMILY.fresh(), FAMILY.inputs()
    dense, before = FAMILY.logits(model, inputs), state_of(model)

    def steps():
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            yield

    def drop():
        abandoned = steps()
        next(abandoned)
        holder = [abandoned]
        holder.append(holder)

    drop()
    gc.collect()
    assert torch.equal(FAMILY.logits(model, inputs), dense) and state_of(model) == before
    gc.disable()
    try:
        drop()
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            pruned = FAMILY.logits(model, inputs)
    finally:
        gc.enable()
    assert pruned.shape != dense.shape
    assert torch.equal(FAMILY.logits(model, inputs), dense) and state_of(model) == before


@methods
@pytest.mark.parametrize("captured", [False, True], ids=["prune", "capture"])
def test_reset_closes_a_block_that_cannot_be_left(method, captured):
    model, inputs = FAMILY.fresh(), FAMILY.inputs()
    dense, before = FAMILY.logits(model, inputs), state_of(model)
    graphs, block = sv.capture(model), FAMILY.prune(model, build(FAMILY, method), inputs)
    if captured:
        graphs.__enter__()
    block.__enter__()
    assert state_of(model) != before
    with pytest.raises(RuntimeError, match=r"sparsevlm.reset\(model\)"):
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            pass
    sv.reset(model)
    assert state_of(model) == before
    assert torch.equal(FAMILY.logits(model, inputs), dense)
    with FAMILY.prune(model, build(FAMILY, method), inputs):
        pruned = FAMILY.logits(model, inputs)
        block.__exit__(None, None, None)  # of the block before: it closes nothing but its own
        assert torch.equal(FAMILY.logits(model, inputs), pruned)
    graphs.__exit__()
    assert state_of(model) == before


class Interrupt(BaseException):
    """Stands for Ctrl-C."""


FILES = {module.__file__ for module in (prune, session, hooks)}


def interrupted(number, block):
    """Run ``block`` with an interrupt at the number-th line of ours; whether there was one."""
    left = number

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in FILES:
            return trace
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        block()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("method", ["sparsevlm", "tome"])
def test_an_interrupt_at_every_line(method):
    """Of entering and of leaving a block: the model is dense, and can be pruned again."""
    model, inputs = FAMILY.fresh(), FAMILY.row(FAMILY.inputs(), 2)
    dense = FAMILY.logits(model, inputs)
    pruner, before = build(FAMILY, method), state_of(model)
    with FAMILY.prune(model, pruner, inputs):
        want = FAMILY.logits(model, inputs)

    def block():
        with sv.prune(model, pruner):
            pass

    number = 1
    while interrupted(number, block):
        dirty = state_of(model) != before
        if number % 7 == 0 or dirty:
            assert torch.equal(FAMILY.logits(model, inputs), dense), number
        with sv.prune(model, pruner):
            if number % 7 == 0 or dirty:
                assert torch.equal(FAMILY.logits(model, inputs), want), number
        assert state_of(model) == before, number
        number += 1
    assert number > 100


def test_an_interrupt_in_the_middle_of_a_prefill():
    """The cache is half filled, and no later call takes it for a prompt."""
    model, inputs = FAMILY.model(), one()
    layer = model.get_decoder().layers[4]
    cache = DynamicCache(config=model.get_decoder().config)

    def interrupt(*args):
        raise KeyboardInterrupt

    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs) as trace:
        want, samples = FAMILY.logits(model, inputs), trace.samples
        handle = layer.mlp.register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            FAMILY.logits(model, inputs, past_key_values=cache)
        handle.remove()
        with pytest.raises(ValueError, match="call the whole"):
            model.get_decoder()(input_ids=torch.tensor([[1, 10, 11]]))
        with pytest.raises(ValueError, match="incomplete"):
            model(input_ids=torch.tensor([[20]]), past_key_values=cache)
        assert trace.samples == samples
        assert torch.equal(FAMILY.logits(model, inputs), want)


@pytest.mark.parametrize("method", ["sparsevlm", "fastv"])
def test_an_interrupt_while_an_attention_shows_its_own_config(method):
    """The next prompt of the same block is looked at again."""
    model, inputs = FAMILY.fresh(), one()
    FAMILY.logits(model, inputs)  # transformers' own hooks come with the first call
    before = state_of(model)
    with FAMILY.prune(model, build(FAMILY, method), inputs):
        want = FAMILY.logits(model, inputs)
        seen = [one for one in model.modules() if hasattr(vars(one).get("config"), hooks.ORIGINAL)]
        for attention in seen:
            attention.config = getattr(attention.config, hooks.ORIGINAL)
        assert seen and torch.equal(FAMILY.logits(model, inputs), want)
    assert state_of(model) == before


# --- Caches ---------------------------------------------------------------------------------------


def pickled(cache):
    return pickle.loads(pickle.dumps(cache))


def moved(cache):
    """Its layers in another cache."""
    other = DynamicCache()
    other.layers = cache.layers
    return other


COPIES = {
    "itself": lambda cache: cache, "copy": copy.copy, "deepcopy": copy.deepcopy, "layers": moved,
}  # fmt: skip
TOKEN = torch.tensor([[20]])


@methods
@pytest.mark.parametrize("other", [*COPIES.values(), pickled], ids=[*COPIES, "pickle"])
def test_a_cache_is_of_no_use_after_its_block(method, other):
    model, inputs = FAMILY.model(), one()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            cache = other(model(**inputs, use_cache=True).past_key_values)
            with pytest.raises(RuntimeError, match="filled under prune"):
                twin(input_ids=TOKEN, past_key_values=cache)
        for again in (cache, other(cache)):
            with pytest.raises(RuntimeError, match="filled under prune"):
                model(input_ids=TOKEN, past_key_values=again)
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            with pytest.raises(ValueError, match="not filled under this prune"):
                model(input_ids=TOKEN, past_key_values=cache)


@methods
@pytest.mark.parametrize("other", COPIES.values(), ids=list(COPIES))
def test_a_copied_cache_continues_as_the_cache_itself(method, other):
    """Two answers to one prompt: neither sees the other."""
    model, inputs = FAMILY.model(), one()
    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs):
        found = []
        for words in ([20, 21, 22], [30, 31]):
            cache = model(**inputs, use_cache=True).past_key_values
            for word in words:
                out = model(input_ids=torch.tensor([[word]]), past_key_values=cache)
            found.append(out.logits)
        cache = model(**inputs, use_cache=True).past_key_values
        twin = other(cache)
        for word in [20, 21, 22]:
            out = model(input_ids=torch.tensor([[word]]), past_key_values=cache)
        assert torch.equal(out.logits, found[0])
        if other is copy.deepcopy:
            for word in [30, 31]:
                out = model(input_ids=torch.tensor([[word]]), past_key_values=twin)
            assert torch.equal(out.logits, found[1])


@methods
def test_a_cache_from_which_nothing_was_dropped_is_like_any_other(method):
    model, inputs = FAMILY.model(), one()
    words = {"input_ids": torch.tensor([[1, 20, 21, 22]])}
    with torch.no_grad():
        dense = model(**words, use_cache=True)
        want = model(input_ids=TOKEN, past_key_values=dense.past_key_values).logits
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            cache = model(**words, use_cache=True).past_key_values
        assert torch.equal(model(input_ids=TOKEN, past_key_values=cache).logits, want)


@methods
def test_a_cache_goes_when_nobody_holds_it(method):
    """By its references: the garbage collector may come late, and a cache is large."""
    model, inputs, caches = FAMILY.model(), one(), []
    gc.collect()
    gc.disable()
    try:
        with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs):
            for _ in range(3):
                cache = DynamicCache(config=model.get_decoder().config)
                caches.append(weakref.ref(cache))
                FAMILY.generate(model, inputs, past_key_values=cache)
                model(**inputs, use_cache=True)
                del cache
                assert [known() for known in caches] == [None] * len(caches)
    finally:
        gc.enable()


def test_a_cache_with_other_rows_or_a_shorter_prompt_is_refused():
    model, inputs = FAMILY.model(), one()
    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        cache = model(**inputs, use_cache=True).past_key_values
        more = copy.deepcopy(cache)
        more.batch_repeat_interleave(2)
        with pytest.raises(ValueError, match="filled with 1 rows and has 2 now"):
            model(input_ids=TOKEN.repeat(2, 1), past_key_values=more)
        shorter = copy.deepcopy(cache)
        shorter.crop(-2)
        with pytest.raises(ValueError, match="cut 2 tokens into its prompt"):
            model(input_ids=TOKEN, past_key_values=shorter)
        again = copy.deepcopy(cache)
        again.crop(-2)
        want = model(input_ids=TOKEN, past_key_values=cache).logits[:, -1]
        ids = torch.cat([inputs["input_ids"][:, -2:], TOKEN], 1)
        found = model(input_ids=ids, past_key_values=again).logits[:, -1]
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


@methods
@pytest.mark.parametrize("how", ["reorder_cache", "batch_select_indices"])
def test_rows_of_a_cache_in_another_order(how, method):
    """What was dropped, masked and renumbered goes with the rows, which differ in length."""
    model, inputs = FAMILY.model(), FAMILY.inputs()
    order, token = torch.tensor([2, 0, 1]), torch.tensor([[20], [30], [40]])
    seen = [torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1) for new in (1, 2)]
    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs):
        found = []
        for after in (1, 0):
            cache = model(**inputs, use_cache=True).past_key_values
            for step in (0, 1):
                rows = order if step >= after else slice(None)
                if step == after:
                    getattr(cache, how)(order)
                given = {"input_ids": token[rows], "attention_mask": seen[step][rows]}
                logits = model(**given, past_key_values=cache).logits
            found.append(logits)
        cache = model(**inputs, use_cache=True).past_key_values
        for mask in seen:
            want = model(input_ids=token, past_key_values=cache, attention_mask=mask).logits
    for logits in found:
        assert torch.equal(logits, want[order])


@methods
def test_a_cache_that_was_reset_is_a_new_one(method):
    model, inputs = FAMILY.model(), one()
    dense = FAMILY.logits(model, inputs)
    with torch.no_grad():
        with FAMILY.prune(model, build(FAMILY, method), inputs):
            cache = model(**inputs, use_cache=True).past_key_values
        cache.reset()
        assert torch.equal(model(**inputs, past_key_values=cache).logits, dense)


@methods
def test_an_interrupted_step_leaves_nothing_to_the_next(method):
    """Of another copy of the cache, which is one step behind."""
    model, inputs = FAMILY.model(), FAMILY.inputs()
    token = TOKEN.repeat(3, 1)
    seen = [torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1) for new in (1, 2)]

    def interrupt(*args):
        raise KeyboardInterrupt

    with torch.no_grad(), FAMILY.prune(model, build(FAMILY, method), inputs):
        cache = model(**inputs, use_cache=True).past_key_values
        behind = copy.deepcopy(cache)
        first = model(input_ids=token, past_key_values=cache, attention_mask=seen[0])
        handle = model.get_decoder().norm.register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(input_ids=token, past_key_values=cache, attention_mask=seen[1])
        handle.remove()
        again = model(input_ids=token, past_key_values=behind, attention_mask=seen[0])
    assert torch.equal(again.logits, first.logits)


# --- Threads --------------------------------------------------------------------------------------


def in_thread(work):
    """What work raises in a thread of its own, or gives."""
    found = []

    def run():
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@methods
def test_another_thread_that_calls_the_pruned_model_is_refused(method):
    model, inputs = FAMILY.model(), one()
    calls = [
        lambda: FAMILY.logits(model, inputs),
        lambda: FAMILY.generate(model, inputs),
        lambda: model.model(**inputs),
    ]
    with FAMILY.prune(model, build(FAMILY, method), inputs) as trace:
        want, samples = FAMILY.logits(model, inputs), trace.samples
        for call in calls:
            thread, found = in_thread(call)
            thread.join()
            assert isinstance(found[0], RuntimeError) and "another thread" in str(found[0])
        assert torch.equal(FAMILY.logits(model, inputs), want) and trace.samples == samples


class Streamer(BaseStreamer):
    """Lets the answer wait after every token."""

    def __init__(self):
        self.step, self.came, self.ended = threading.Semaphore(0), threading.Semaphore(0), False

    def put(self, value):
        self.came.release()
        assert self.step.acquire(timeout=60)

    def end(self):
        self.ended = True


@pytest.mark.parametrize("use_cache", [True, False])
@methods
def test_a_thread_that_streams(method, use_cache):
    """Inside the block it gives what it should, and is alone; after the block it ends."""
    model, inputs = FAMILY.model(), one()
    dense = FAMILY.logits(model, inputs)
    pruner, how = build(FAMILY, method), {"use_cache": use_cache, "max_new_tokens": 5}

    def stream(streamer):
        return in_thread(lambda: FAMILY.generate(model, inputs, streamer=streamer, **how))

    with FAMILY.prune(model, pruner, inputs):
        want = FAMILY.generate(model, inputs, **how)
        streamer = Streamer()
        thread, found = stream(streamer)
        assert streamer.came.acquire(timeout=60)
        for call in (FAMILY.logits, FAMILY.generate):
            with pytest.raises(RuntimeError, match="one thread at a time"):
                call(model, inputs)
        second, refused = stream(Streamer())
        second.join()
        assert "one thread at a time" in str(refused[0])
        for _ in range(9):
            streamer.step.release()
        thread.join()
        assert torch.equal(found[0], want) and streamer.ended

        late = Streamer()
        thread, found = stream(late)
        assert late.came.acquire(timeout=60)
        late.step.release()
        assert late.came.acquire(timeout=60)
    for _ in range(9):
        late.step.release()
    thread.join()
    assert isinstance(found[0], RuntimeError) and late.ended
    assert torch.equal(FAMILY.logits(model, inputs), dense)


class Tokenizer:
    def decode(self, ids, **how):
        return " ".join(map(str, ids))


def test_a_streamer_serves_two_answers():
    """It is ended once for each: another end would be the next answer, an empty one."""
    model, inputs, found = FAMILY.model(), one(), []
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        streamer = TextIteratorStreamer(Tokenizer(), skip_prompt=True, timeout=60)
        for _ in range(2):
            thread, _ = in_thread(lambda: FAMILY.generate(model, inputs, streamer=streamer))
            found.append("".join(streamer))
            thread.join()
    assert found[0] == found[1] != ""


def test_who_reads_a_stream_is_not_left_waiting():
    model, inputs = FAMILY.model(), one()
    with FAMILY.prune(model, build(FAMILY, "sparsevlm"), inputs):
        streamer = TextIteratorStreamer(Tokenizer(), timeout=60)
        bad = {**inputs, "attention_mask": inputs["attention_mask"][:, :, None]}
        thread, found = in_thread(lambda: FAMILY.generate(model, bad, streamer=streamer))
        list(streamer)
        thread.join()
    assert isinstance(found[0], Exception)
