# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Today's methods, under one account
#
# **Question.** The paper compares with FastV, ToMe and PyramidDrop. How do the training-free
# methods that came later, DivPrune, VisionZip, DART, CDPruner, HoloV and VisPruner, stand at the
# same budgets on the same questions, and do papers agree on what each is worth?
#
# **What would speak against SparseVLM.** A method that ignores the question, level or ahead at the
# same budget. Against all of them: published rows of one method that lie further apart than the
# methods do.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.extras import methods
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("methods", globals())
results = methods.measure(page.profile)
measured, moved, beside = methods.page(results)

# %% [markdown]
# ## Measured
#
# Tokens left by a layer are the budget, tokens entering it are what is computed. Methods that cut
# before the first layer pay for the budget only; those that look at a layer pay for the layers
# before it. *CDPruner, words for CLIP* is a substitute for models without a text tower.

# %%
measured

# %% [markdown]
# ## Who measured what

# %%
moved

# %% [markdown]
# Values of different sources average different benchmarks. Two sources say that they ran all
# methods in one environment.

# %%
beside

# %%
files = page.save_report(methods.REPORT, results)

# %%
remarks("methods", results)
