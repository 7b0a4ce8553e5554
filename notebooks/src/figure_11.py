# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 11: more images, more questions
#
# **Claim.** Stage by stage, what is left is what the question asks for, for all kinds of questions
# (paper, Figure 11).
#
# **What would falsify it.** Survivors that miss the object asked for. Where they do, look at which
# words rate, as in `figure_3`. `figure_6` has more examples.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # no effect here: no question is drawn
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own; up to 12 of them, separated by |
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_6, figure_11
from sparsevlm.paper.page import begin

page = begin("figure_11", globals())
data = figure_11.measure(page.profile, tokens, image, question)
Markdown(data.about)

# %% [markdown]
# Where the true answer is known, a wrong one is followed by it in brackets.

# %%
figure = figure_6.draw(data)
files = page.save(figure, data=figure_11.table(data))

# %% [markdown]
# *left after layer*: visual tokens of what is asked for, or all of them where that is not marked.

# %%
figure_11.table(data)

# %% [markdown]
# **What this does not show.** How often it goes well: the examples were picked for different kinds
# of questions, and twelve are no estimate. `table_1` measures.
