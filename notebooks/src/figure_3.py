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
# **Claim.** Not every word of a prompt has to do with the image; those above the mean relevance
# do, and they should rate the visual tokens alone (paper, section 3.2 and Figure 3).
#
# **What would falsify it.** Raters that are not what the question is about, or a target that
# survives when all words rate and not when the raters do.
#
# Relevance *r* is a softmax over the words for every patch, averaged over the patches: the share of
# the patches that vote for a word.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # no effect here: no question is drawn
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own; up to 4 of them, separated by |

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_3
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_3", globals())
data = figure_3.measure(page.profile, tokens, image, question)
Markdown(data.about)

# %% [markdown]
# A box is shaded by *r* and framed where the word rates. To the right: the patches kept after the
# last stage, without the merged ones. Where it is known, what the question asks for is outlined,
# and a wrong answer is followed by the true one in brackets.

# %%
figure = figure_3.draw(data)
files = page.save(figure, data=figure_3.table(data))

# %%
figure_3.summary(data)

# %%
Markdown(figure_3.findings(data))

# %% [markdown]
# An answer can be right without its patches: until a stage prunes, the words have read the whole
# image.
#
# **What this does not show.** How often the rule fails: `controls` has the row *SparseVLM, all
# text*.

# %%
remarks("figure_3", page)
