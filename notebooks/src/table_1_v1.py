# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Table 1 of the first preprint: SparseVLM v1.0
#
# **Claim.** At 192, 128 and 64 tokens SparseVLM is above FastV and ToMe (first preprint, October
# 2024, Table 1). Methods, benchmarks and numbers differ from the ICML paper's Table 1, so this
# table has a name of its own.
#
# **What would falsify it.** FastV or ToMe ahead by more than chance (an interval that excludes
# zero).
#
# The SparseVLM of this version keeps as many tokens as the rank of the scores says, times a scale
# that its authors set by hand for a budget. What it leaves follows the question, so this notebook
# prints what is really left.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks
from sparsevlm.paper.tables import table_1_v1

page = begin("table_1_v1", globals())
results = table_1_v1.measure(page.profile)
measured, published, ranking = table_1_v1.page(results)

# %% [markdown]
# ## Measured
#
# The column *tokens out* is what is left, mean over layers and samples; FastV and ToMe meet the
# budget, v1.0 need not.

# %%
measured

# %% [markdown]
# ## Published
#
# VQAv2 and ConBench have no counterpart in this suite; the mean percentage of the preprint includes
# them.

# %%
published

# %% [markdown]
# ## What is left, and does the ranking hold?

# %%
ranking

# %% [markdown]
# Against the tokens really left, which is how methods compare that do not meet one budget.

# %%
files = page.save_report(table_1_v1.REPORT, results)

# %%
remarks("table_1_v1", results)
