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
# layer. What is computed is the mean of those *entering* it. Both are shown, because the comparison
# can depend on the count. The paper has no such comparison.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.extras import variants
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("variants", globals())
results = variants.measure(page.profile)
measured, analytic, compared = variants.page(results)

# %% [markdown]
# ## Measured
#
# *SparseVLM* is v1.5; *SparseVLM ahead by* is its relative accuracy minus the row's, paired.

# %%
measured

# %% [markdown]
# ## Both counts on LLaVA-1.5-7B
#
# No model runs here. Variants that go by the rank have no count without a question and are left
# out.

# %%
analytic

# %% [markdown]
# ## Against the v1.5 release

# %%
compared

# %% [markdown]
# ## Positions
#
# After a stage, v1.5 numbers what is left anew, so that the text moves closer to the picture.
# FastV and SparseVLM+ keep the positions of what survives. The same v1.5 with kept positions:

# %%
variants.positions(page.profile)

# %%
files = page.save_report(variants.REPORT, results)

# %% [markdown]
# **What this does not show.** The authors set v1.0's scales for LLaVA-1.5-7B, and the 14 heads that
# SparseVLM+ averages for a model of 28. A variant that loses may lose by its settings and not by
# its idea.

# %%
remarks("variants", results)
