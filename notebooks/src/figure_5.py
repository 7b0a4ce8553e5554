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
# The paper measures LLaVA-1.5-7B. This notebook measures the bundled miniature of eight layers
# (`mini-llava`) on procedural questions, scored by the real metrics: evidence about the mechanism,
# and no reproduction of the paper's bars. *All text* are the tokens behind the picture; *all
# tokens* are those, the visual tokens and the system prompt. The paper does not spell either out,
# so this is our reading of them.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_views
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_5

results = figure_5.measure(profile)

# %%
study_views.styled(figure_5.readable(results), figure_5.title(results))

# %%
print("\n".join(figure_5.sentences(results)))

# %%
figure = figure_5.draw(results)
numbers = figure_5.frame(results)
files = save_figure(figure, "figure_5", profile, results.ids, data=numbers, study="figure_5")

# %% [markdown]
# **How to read it.** Whiskers are 95 % intervals of single scores from a bootstrap over questions.
# The comparison is the column *raters ahead by*, whose intervals are paired: methods answer the
# same questions, so two bars can differ for certain though their whiskers overlap.
#
# **What this does not show.** In the miniature's short questions most words carry meaning, so there
# is less to select from than in a prompt with a system message and format instructions.
