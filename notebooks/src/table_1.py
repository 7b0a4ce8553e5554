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
# The paper measures LLaVA-1.5-7B on the real benchmarks. This notebook measures a bundled miniature
# of eight layers on procedural questions of the same eight kinds, scored by the real metrics:
# evidence about the methods, and no reproduction of the paper's numbers.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own

# %%
from sparsevlm.paper.page import begin
from sparsevlm.paper.tables import table_1, table_1_views

page = begin("table_1", globals())
results = table_1.measure(page.profile)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions. *SparseVLM ahead by* is the relative accuracy of
# SparseVLM at that budget minus the row's, with the interval of a paired bootstrap.

# %%
table_1_views.styled(table_1_views.readable(results), table_1_views.title(results))

# %%
print(table_1_views.notes(results))

# %% [markdown]
# ## Published
#
# The paper's own numbers in the same rows. It has no controls.

# %%
table_1_views.styled(table_1_views.readable_published(results), table_1_views.PAPER_TITLE)

# %% [markdown]
# ## FLOPs and KV cache
#
# These follow from the schedules alone, and have to equal the paper's columns.

# %%
from sparsevlm.analysis import study_views
from sparsevlm.paper.tables import study_analytic

study_views.styled(study_analytic.readable(), study_analytic.TITLE)

# %% [markdown]
# ## Does the ranking hold?
#
# Every pair of methods that the paper ranks, by relative accuracy; then SparseVLM against
# tokens kept at random.

# %%
print("\n".join(table_1_views.sentences(results)))

# %%
figure = table_1_views.figure(results)
ids = [record.id for record in results.records.values()]
data = table_1_views.frame(results)
files = page.save(figure, data=data, sources=ids, study="table_1")
files += table_1_views.save(results)

# %% [markdown]
# **Where the miniature differs, and why.** Eight layers put the first cut after layer 0 (the same
# fraction of depth as layer 2 of 32). The last token has then seen little of the question, and
# FastV and PDrop go by its attention: their deficit here is one of depth. Where SparseVLM falls
# behind, its raters do: the notebook `controls` has the row with all words rating, and the grids
# that look at nothing. The notebook `miniature` has the same questions on the miniature of 16
# layers, where SparseVLM does worse: half of those layers were put in by growth, and all cuts at
# the paper's fractions of depth fall behind such layers.
#
# **What this does not show.** The miniature knows one kind of picture; its scores say nothing of
# LLaVA's. The intervals take other questions into account, not another training run of the
# miniature. MM-Vet is scored by a normalised match, where the paper has a GPT-4 judge.
