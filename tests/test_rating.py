from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases

from sparsevlm.core.recycling import select_top
from sparsevlm.core.scoring import mean_over_heads, score
from sparsevlm.runtime.attention import QueriesKeys, attention_rows, mean_attention

GOLDEN = [case for case in cases("functions") if case.startswith(("topk_v", "rank_"))]


@pytest.mark.parametrize("case", GOLDEN)
def test_official_scores_and_kept(case):
    info, gold = cases("functions")[case], arrays("functions", case)
    scores = score(mean_over_heads(gold["rel"]))
    torch.testing.assert_close(scores, gold["score"])
    if "kept" in gold:
        keep, _ = select_top(scores, info["n_kept"], 0)
        assert torch.equal(keep, gold["kept"])


def reference(query, key, scaling, visible):
    repeat = query.shape[0] // key.shape[0]
    logits = query @ key.repeat_interleave(repeat, 0).transpose(1, 2) * scaling
    return logits.masked_fill(~visible, -torch.inf).softmax(-1)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_rows_equal_the_full_map(key_heads):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(4, 20, 8, generator=generator)
    key = torch.randn(key_heads, 20, 8, generator=generator)
    causal = torch.ones(20, 20).tril().bool()
    full = reference(query, key, 0.3, causal)
    rows, columns = torch.tensor([13, 17, 19]), slice(3, 12)
    want = full[:, rows, columns]
    assert (attention_rows(query, key, rows, columns, 0.3) - want).abs().max() < 1e-6
    window = causal & ~torch.ones(20, 20).tril(-9).bool()
    want = reference(query, key, 0.3, window)[:, rows, columns]
    found = attention_rows(query, key, rows, columns, 0.3, window[rows])
    assert (found - want).abs().max() < 1e-6
    additive = torch.zeros(20, 20).masked_fill(~window, torch.finfo(torch.float32).min)
    found = attention_rows(query, key, rows, columns, 0.3, additive[rows])
    assert (found - want).abs().max() < 1e-6


def test_score_is_the_mean_over_heads_then_raters():
    rows = torch.tensor([[[1.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [0.0, 0.0]]])
    assert mean_over_heads(rows).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert score(mean_over_heads(rows)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("given", [None, "bool", "additive"])
def test_all_tokens_rate_by_the_mean_of_the_whole_causal_map(given, monkeypatch):
    monkeypatch.setattr("sparsevlm.runtime.attention.ROWS_AT_A_TIME", 4)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(4, 11, 8, generator=generator)
    key = torch.randn(2, 11, 8, generator=generator)
    visible = torch.ones(11, 11, dtype=torch.bool).tril()
    mask = visible if given == "bool" else None
    if given == "additive":
        mask = torch.zeros(11, 11).masked_fill(~visible, -torch.inf)
    got = mean_attention(query, key, slice(2, 7), 0.35, mask)
    expected = reference(query, key, 0.35, visible).mean((0, 1))[2:7]
    torch.testing.assert_close(got, expected)


def test_rows_of_the_last_queries_and_their_mask_at_a_later_cut():
    generator = torch.Generator().manual_seed(0)
    cache: dict = {}
    # Padding of 2, then 3 + 9 + 6 tokens; after a stage 4 visual tokens are left.
    for visual, raters in ((9, torch.tensor([0, 3, 5])), (4, torch.tensor([1, 2]))):
        tokens, stop = 3 + visual + 6, 3 + visual
        query, key = torch.randn(2, 1, 4, 2 + tokens, 8, generator=generator)
        found = QueriesKeys(query, key, 0.3)
        full = reference(query[0, :, 2:], key[0, :, 2:], 0.3, torch.ones(tokens, tokens).tril() > 0)
        for chosen in (raters, raters + 0, torch.tensor([4])):
            rows = found.rows(0, 2, slice(3, stop), chosen, cache)
            torch.testing.assert_close(rows, full[:, stop + chosen, 3:stop])
            again = found.rows(0, 2, slice(3, stop), chosen, cache)
            assert torch.equal(again, rows) and cache["causal"][0] is chosen
    shorter = QueriesKeys(query[..., 3:, :], key[..., 3:, :], 0.3)
    full = reference(query[0, :, 3:], key[0, :, 3:], 0.3, torch.ones(12, 12).tril() > 0)
    rows = shorter.rows(0, 0, slice(2, 6), chosen, cache)
    torch.testing.assert_close(rows, full[:, 6 + chosen, 2:6])
