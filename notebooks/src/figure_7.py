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
# The paper counts what is "relevant" without saying how, on an image that is not known. So this is
# an **analogue** with two measures that can be checked. *Attention*: the row of the last prompt
# token, mean over layers and heads of the dense model, divided into visual tokens and words of the
# question; the fewest tokens that together hold 90 % of each. *Deletion*: tokens are taken away
# before layer 0, and the first token of the answer is compared with that of the dense model. Words
# go at random; patches go at random, or, where the objects are known, background first and what the
# question names last.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # questions that are drawn; 0 for the usual number
model: str = ""  # another model than the profile's own
layers: list[int] = []  # whose attention; [] for all
words: str = ""  # whose attention, such as "ring cat"; the last token if empty
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own; up to 16 of them, separated by |

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_7, figure_7_drawing
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_7", globals())
data = figure_7.measure(page.profile, layers, words, image, question)
Markdown(data.about)

# %%
figure = figure_7_drawing.draw(data)
files = page.save(figure, data=figure_7.table(data))

# %% [markdown]
# Means in percent with 95 % bootstrap intervals over the questions. Entropy is divided by its
# largest value: 100 is evenly spread.

# %%
figure_7.summary(data)

# %%
Markdown(figure_7.findings(data))

# %% [markdown]
# **What this does not show.** The shares of the paper, whose image and question are not known. Nor
# the paper's claim about classification and detection, which have no counterpart here.

# %%
remarks("figure_7", page)
