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
# that its authors set by hand for a budget. What it leaves follows the question. This notebook runs
# that program on the bundled miniature of eight layers (`mini-llava`) and prints what is really
# left: evidence about the methods, and no reproduction of the preprint's numbers.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_views
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.tables import table_1_v1

results = table_1_v1.measure(profile)

# %% [markdown]
# ## Measured
#
# The column *tokens out* is what is left, mean over layers and samples; FastV and ToMe meet the
# budget, v1.0 need not.

# %%
study_views.styled(study_views.readable(results), study_views.title(results))

# %%
print(study_views.notes(results))

# %% [markdown]
# ## Published
#
# VQAv2 and ConBench have no counterpart in this suite; the mean percentage of the preprint includes
# them.

# %%
study_views.styled(table_1_v1.readable_published(results), table_1_v1.PAPER_TITLE)

# %% [markdown]
# ## What is left, and does the ranking hold?

# %%
print("\n".join(table_1_v1.sentences(results)))

# %% [markdown]
# Against the tokens really left, which is how methods compare that do not meet one budget.

# %%
figure = table_1_v1.figure(results)
numbers = study_views.frame(results)
save_figure(figure, "table_1_v1", profile, results.ids, data=numbers, study="table_1_v1")
files = table_1_v1.save(results)

# %% [markdown]
# **What this does not show.** The scales were chosen by the authors on LLaVA-1.5-7B with its
# prompts. The rank of the scores is at most the number of raters, and the miniature's questions are
# short: what the same scale leaves here is no measure of what it leaves there.
