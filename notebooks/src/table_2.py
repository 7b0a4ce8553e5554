# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Table 2: Qwen2-VL, images of any size at 600, 500 and 400 tokens
#
# **Claim.** On Qwen2-VL, whose images have about 1320 visual tokens, SparseVLM at 600 tokens
# keeps 98 % of the accuracy and loses little more at 500 and 400 (paper, Table 2).
#
# **What would falsify it.** A large loss already at 600 tokens, or SparseVLM no better than FastV
# or than keeping tokens at random, by an interval that excludes zero.
#
# The paper measures Qwen2-VL-7B and prints no baseline.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks
from sparsevlm.paper.tables import table_2

page = begin("table_2", globals())
results = table_2.measure(page.profile)
measured, published, claim = table_2.page(results)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions about the same images.

# %%
measured

# %% [markdown]
# ## Published
#
# The paper's own numbers.

# %%
published

# %% [markdown]
# ## Does the claim hold?

# %%
claim

# %%
files = page.save_report(table_2.REPORT, results)

# %% [markdown]
# **What the rows are.** The paper gives neither layers nor counts for Qwen2-VL, and no code.
# *SparseVLM* here has the shape of the image release (stages at the same fractions of depth, 30 %
# recycled), solved for the budget on a nominal image; *FastV* has one stage.

# %%
remarks("table_2", results)
