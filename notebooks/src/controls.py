# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Controls: what text guidance really buys
#
# **Question.** Is it the question that makes SparseVLM's choice of tokens good, or would any choice
# of as many do? Three controls look at nothing: tokens at random, tokens on a uniform grid, and the
# image at a lower resolution (a pooled grid). A fourth is SparseVLM with all text tokens rating,
# which tells what the selection of raters adds.
#
# **What would speak against text guidance.** A control that looks at nothing, level with SparseVLM
# or ahead of it, at the same budget on the same questions. The paper compares with none of these in
# its tables.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.extras import controls
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("controls", globals())
results = controls.measure(page.profile)
summary, measured, differences, answers = controls.page(results)

# %%
summary

# %% [markdown]
# ## Measured

# %%
measured

# %% [markdown]
# ## Where it helps and where it hurts
#
# Above zero SparseVLM is better than the control. With so many intervals some exclude zero by
# chance.

# %%
differences

# %% [markdown]
# ## Answer by answer

# %%
answers

# %%
files = page.save_report(controls.REPORT, results)

# %%
remarks("controls", results)
