# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Table 1: accuracy on eight benchmarks at three budgets
#
# **Claim.** At the same budget of visual tokens SparseVLM loses less accuracy than FastV, ToMe and
# PyramidDrop, and the more so the fewer tokens are left (paper, section 5.1 and Table 1).
#
# **What would falsify it.** Another method ahead of SparseVLM by more than chance (an interval
# that excludes zero), or SparseVLM no better than keeping tokens at random or on a grid.
#
# The paper measures LLaVA-1.5-7B on the real benchmarks. Each table below names the model that was
# measured here.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
judge: str = ""  # model or id, where several judges have judged; "match" for none
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.analysis import accounting
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks
from sparsevlm.paper.tables import table_1

page = begin("table_1", globals())
results = table_1.measure(page.profile, judge=judge)
measured, published, ranking = table_1.page(results)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions. *SparseVLM ahead by* is the relative accuracy of
# SparseVLM at that budget minus the row's, with the interval of a paired bootstrap.

# %%
measured

# %% [markdown]
# ## Published
#
# The paper's own numbers in the same rows. It has no controls.

# %%
published

# %% [markdown]
# ## FLOPs and KV cache
#
# These follow from the schedules alone, and have to equal the paper's columns.

# %%
accounting.section()

# %% [markdown]
# ## Does the ranking hold?
#
# Every pair of methods that the paper ranks, by relative accuracy; then SparseVLM against
# tokens kept at random.

# %%
ranking

# %%
files = page.save_report(table_1.REPORT, results)

# %%
remarks("table_1", results)
