# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # The programs called SparseVLM, on the same samples
#
# **Question.** The paper's formulas, the first release (v1.0), the release behind Table 1 (v1.5)
# and SparseVLM+ (v2.0) are four programs of one name; a fifth, for videos, is in `table_3`. How do
# they compare on the same questions, and what does each really cost?
#
# **Two ways to count.** The paper's budget is the mean over layers of the visual tokens *left* by a
# layer. What is computed is the mean of those *entering* it. Both are shown, for the comparison can
# turn with the count.
#
# The answers are those of the bundled miniature of eight layers (`mini-llava`) on procedural
# questions: evidence about the programs, and no result of LLaVA-1.5. The paper has no such
# comparison.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_views
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.extras import variants

results = variants.measure(profile)

# %% [markdown]
# ## Measured
#
# *SparseVLM* is v1.5; *SparseVLM ahead by* is its relative accuracy minus the row's, paired.

# %%
study_views.styled(study_views.readable(results), study_views.title(results))

# %%
print(study_views.notes(results))

# %% [markdown]
# ## Both counts on LLaVA-1.5-7B
#
# No model runs here. Variants that go by the rank have no count without a question and are left
# out.

# %%
study_views.styled(variants.analytic(results), variants.ANALYTIC_TITLE)

# %% [markdown]
# ## Against the v1.5 release

# %%
print("\n".join(variants.sentences(results)))

# %%
figure = variants.figure(results)
numbers = study_views.frame(results)
save_figure(figure, "variants", profile, results.ids, data=numbers, study="variants")
files = variants.save(results)

# %% [markdown]
# **What this does not show.** The authors set v1.0's scales for LLaVA-1.5-7B, and the 14 heads that
# SparseVLM+ averages for a model of 28. The miniature has four heads, and SparseVLM+ averages half
# of them too. A variant that loses may lose by its settings and not by its idea.
