# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 7: the image is redundant, the text is not
#
# **Claim.** Of the tokens that a vision-language model reads, most of the text matters and most of
# the image does not (paper, appendix A and Figure 7).
#
# **What would falsify it.** The image needing as large a share of its tokens as the question, in
# (b) to hold the attention or in (c) to keep the answer.
#
# The paper counts what is "relevant" without saying how, on a picture that is not known. So this is
# an **analogue on the bundled miniature**, with two measures that can be checked. *Attention*: the
# row of the last prompt token, mean over all layers and heads of the dense model, divided into
# visual tokens and words of the question; the fewest tokens that together hold 90 % of each.
# *Deletion*: tokens are taken away before layer 0, and the first word of the answer is compared
# with that of the dense model. Words go at random; patches go at random, or background first and
# what the question names last.

# %% tags=["parameters"]
profile: str = "mini"
num_questions: int = 16  # drawn, not chosen

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_7, figure_7_drawing

found = figure_7.measure(profile, num_questions)

# %%
figure = figure_7_drawing.draw(found)
name = "figure_7" if num_questions == 16 else f"figure_7_{num_questions}"
files = save_figure(figure, name, profile, data=figure_7.table(found))

# %% [markdown]
# Means in percent with 95 % bootstrap intervals over the questions. Entropy is divided by its
# largest value: 100 is evenly spread.

# %%
figure_7.summary(found)

# %% [markdown]
# Both measures agree that the image is the redundant part, but not on *which* part of it: most of
# the attention lies on background, about as much as its share of the area, and all of that can be
# deleted. Attention of the answer is no measure of need. Entropy does not separate image and text.
#
# **What this does not show.** The shares of the paper: a question here has six to nine words, a
# scene was drawn to have empty background, and the miniature was trained with background missing.
# Nor its claim about classification and detection, which have no counterpart here.
