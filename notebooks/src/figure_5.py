# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 5: who rates the visual tokens
#
# **Claim.** At 64 tokens the selected raters score higher than all text tokens, and those higher
# than all tokens, on TextVQA and POPE (paper, Figure 5).
#
# **What would falsify it.** All text tokens or all tokens ahead of the raters by more than chance
# (a paired interval that excludes zero).
#
# The paper measures LLaVA-1.5-7B. *All text* are the tokens behind the image; *all tokens* are
# those, the visual tokens and the system prompt. The paper does not spell either out, so this is
# our reading of them.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.figures import figure_5
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_5", globals())
results = figure_5.measure(page.profile)
measured, compared = figure_5.page(results)

# %%
measured

# %%
compared

# %%
files = page.save_report(figure_5.REPORT, results)

# %% [markdown]
# **How to read it.** Error bars are 95 % intervals of single scores from a bootstrap over
# questions. The comparison is the column *raters ahead by*, whose intervals are paired: methods
# answer the same questions, so two bars can differ for certain though their error bars overlap.

# %%
remarks("figure_5", results)
