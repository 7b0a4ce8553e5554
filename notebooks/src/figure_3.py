# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 3: which words rate
#
# **Claim.** Not every word of a prompt has to do with the picture; those above the mean relevance
# do, and they should rate the visual tokens alone (paper, section 3.2 and Figure 3).
#
# **What would falsify it.** Raters that are not what the question is about, or a target that
# survives when all words rate and not when the raters do. The two lower rows show just that.
#
# Relevance *r* is a softmax over the words for every patch, averaged over the patches: the share of
# the patches that vote for a word. Prompts and pictures are the bundled miniature's.

# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64  # budget, mean over layers of the visual tokens left

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_3

found = figure_3.measure(profile, tokens)

# %% [markdown]
# A box is shaded by *r* and framed where the word rates; the outline on the pictures is what the
# question asks for. To the right: the patches kept after the last cut, without the merged ones. A
# wrong answer is followed by the true one in brackets.

# %%
figure = figure_3.draw(found)
name = "figure_3" if tokens == 64 else f"figure_3_{tokens}"
files = save_figure(figure, name, profile, data=figure_3.table(found))

# %%
figure_3.summary(found)

# %% [markdown]
# Two ways to go wrong, both in the rule and not in the model. **A colour is outvoted by its noun:**
# two cards raise *card* and the mean with it, so *brown* falls below and either card will do.
# **Options rate:** every patch lies at the left, in the middle or at the right, so these three
# words share all votes and the object that is asked for gets none.
#
# An answer can be right without its patches (second row, all words): until a layer is cut, the
# words have read the whole picture.
#
# **What this does not show.** How often the rule fails: four prompts, picked to show both sides;
# `table_1` has the row *SparseVLM, all text*. Nor that LLaVA's words behave so: the miniature's
# patches and words were aligned on purpose (its model card says how).
