# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 6: which patches survive each cut
#
# **Claim.** SparseVLM keeps the visual tokens that the question is about: the same picture under
# two questions keeps different patches, and the answer is still right (paper, Figures 1, 6 and 11).
#
# **What would falsify it.** The same survivors for both questions, or survivors that miss the
# object asked for. One row does just that: where only "card" may rate, and not "brown", the card is
# lost and with it the answer; `table_1` measures what the choice of raters costs.
#
# The paper shows photographs and LLaVA-1.5-7B. This notebook shows the bundled miniature: a real
# LLaVA architecture, trained on drawn scenes, so it is evidence about the mechanism and not about
# the paper's pictures.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left

# %%
from sparsevlm.paper.figures import figure_6
from sparsevlm.paper.page import begin

page = begin("figure_6", globals())
found = figure_6.examples(page.profile, tokens)

# %% [markdown]
# Every row is one question. Words that rate are orange. A dropped patch is white, a recycled one
# is tinted with the colour of the group it was merged into.

# %%
figure = figure_6.draw(found, tokens)
files = page.save(figure)

# %% [markdown]
# How much two questions about one scene share: 1 is the same survivors, and two random choices of
# that many tokens would share about as much as the last column says.

# %%
figure_6.overlap_table(found)

# %% [markdown]
# **What this does not show.** Six examples are an illustration, not a measurement; the measurement
# is `table_1`.
