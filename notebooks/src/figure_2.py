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
# **Claim.** Words that the image votes for rate the visual tokens by their attention; the rank of
# these ratings tells how redundant the tokens are; the lowest are dropped, the best of the dropped
# are merged and come back (paper, section 3 and Figure 2).
#
# **What would falsify it.** Here, a step that does not follow from the one before: scores that are
# not the column mean of P, or tokens kept that are not the best. `tests/test_figure_2.py` checks
# both.
#
# The paper's figure is a drawing. Everything below was computed by the model while it answered.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # no effect here: no question is drawn
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
stage: int = 1  # which pruning stage is taken apart, from 0
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_2
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_2", globals())
data = figure_2.measure(page.profile, tokens, stage, image, question)
Markdown(data.about)

# %%
figure = figure_2.draw(data)
files = page.save(figure, data=figure_2.table(data))

# %% [markdown]
# The release that gives Table 1 (v1.5, drawn here) keeps fixed counts. λ is what the rule of the
# paper, which drops λ (tokens − rank), would need to drop as many; the rank is that of P, and so at
# most the number of raters.

# %%
figure_2.summary(data.run)

# %% [markdown]
# **What this does not show.** That the steps are good ones: one example says nothing of that.

# %%
remarks("figure_2", page)
