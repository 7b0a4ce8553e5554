# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 2: the method, drawn from one forward pass
#
# **Claim.** Words that the picture votes for rate the visual tokens by their attention; the rank of
# these ratings tells how redundant the tokens are; the lowest are dropped, the best of the dropped
# are merged and come back (paper, section 3 and Figure 2).
#
# **What would falsify it.** Here, a step that does not follow from the one before: scores that are
# not the column mean of P, or tokens kept that are not the best. `tests/test_figure_2.py` checks
# both on these numbers.
#
# The paper's figure is a drawing. Everything below was computed by the bundled miniature while it
# answered.

# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64  # budget, mean over layers of the visual tokens left
cut: int = 1  # which of the three cuts is taken apart, from 0

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_2, figure_2_drawing

found = figure_2.measure(profile, tokens, number=cut)

# %%
figure = figure_2_drawing.draw(found)
name = "figure_2" if (tokens, cut) == (64, 1) else f"figure_2_{tokens}_{cut}"
files = save_figure(figure, name, profile, data=figure_2.table(found))

# %% [markdown]
# The release that gives Table 1 (v1.5, drawn here) keeps fixed counts. λ is what the rule of the
# paper, which drops λ (tokens − rank), would need to drop as many; the rank is that of P, and so at
# most the number of raters.

# %%
figure_2.summary(found)

# %% [markdown]
# **What this does not show.** That the steps are good ones: one example says nothing of that. And
# the relevance is nearly all or nothing here, because the miniature was trained to match patches
# and words; a large model's votes are softer.
