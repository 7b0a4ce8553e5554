# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Efficiency: what pruning saves, and what it costs
#
# **Claim.** SparseVLM needs a fraction of the dense model's operations, time and cache (paper,
# Table 1 and section 5.3).
#
# **What would falsify it.** Scoring and clustering that cost as much as the shorter prefill saves:
# own time far above 2 % of an *oracle* that prunes at the same stages without deciding anything, a
# share that grows with the number of tokens, or a peak of memory above the dense model's.
#
# The formulas and counts hold for the models at full size. What was measured, on which model and
# device, is printed first.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.extras import efficiency, efficiency_drawing
from sparsevlm.paper.extras.efficiency import having
from sparsevlm.paper.page import begin

page = begin("efficiency", globals())
records = efficiency.load()
efficiency.scope(records).style.hide(axis="index")

# %% [markdown]
# All weights are random. Where the clock is thread CPU time, the records are ratios: they bound
# what pruning adds, and are no speed-ups.
#
# ## On paper
#
# Operations of the prefill and bytes of keys and values, at half precision, with 117 text tokens;
# beside them the paper's own numbers for LLaVA-1.5-7B.

# %%
table = efficiency.analytic()
table.style.format(precision=3, na_rep="–").hide(axis="index")

# %% [markdown]
# ## Measured
#
# *Over the oracle* is the direct account: the clock is read whenever pruning begins and ends a
# phase, and what the oracle's own pruning takes is taken off.

# %%
{name: efficiency.overhead(one) for name, one in having(records, "budgets").items()}

# %%
{name: efficiency.scale(one) for name, one in having(records, "scale").items()}

# %% [markdown]
# ## From a graph
#
# The same prefills, captured once and replayed (`capture`), beside the dense model captured alike.

# %%
{name: efficiency.captured(one) for name, one in having(records, "captured_dense_to_dense").items()}

# %% [markdown]
# ## Counted
#
# Operators and peak memory of the decoders at full size, calculated on tensors without values: no
# weights, no GPU, nothing timed. A fast GPU waits for operators at batch 1; a stage prunes row by
# row, so its operators grow with the batch.

# %%
{name: efficiency.operators(one) for name, one in having(records, "operators").items()}

# %%
{name: efficiency.footprint(one) for name, one in having(records, "footprint").items()}

# %% [markdown]
# The most that pruning costs in each record. *share_percent* is its own time in percent of the
# model's, *memory_to_dense* the peak memory over the dense model's.

# %%
efficiency.largest(records).style.format(precision=2, na_rep="–").hide(axis="index")

# %%
figure = efficiency_drawing.draw(records)
files = page.save(figure, data=table)

# %% [markdown]
# **What this does not show.** What a measurement on another device would say: on a GPU a prompt of
# one image is bound by launching kernels, which thread CPU time does not see. docs/speed.md says
# how to measure the architectures at full size with `sparsevlm bench --device cuda`.
