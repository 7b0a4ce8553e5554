# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 6: which patches survive each stage
#
# **Claim.** SparseVLM keeps the visual tokens that the question is about: the same image under two
# questions keeps different patches, and the answer is still right (paper, Figures 1, 6 and 11).
#
# **What would falsify it.** The same survivors for both questions, or survivors that miss the
# object asked for. Where they do, look at the words that rate: if only "card" may, and not "brown",
# the card is lost and with it the answer. `table_1` measures what the choice of raters costs.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # no effect here: no question is drawn
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own; up to 6 of them, separated by |

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_6
from sparsevlm.paper.page import begin

page = begin("figure_6", globals())
data = figure_6.measure(page.profile, tokens, image, question)
Markdown(data.about)

# %% [markdown]
# Every row is one question. Words that rate are orange. A dropped patch is white, a recycled one
# is tinted with the color of the group it was merged into.

# %%
figure = figure_6.draw(data)
files = page.save(figure)

# %% [markdown]
# How much two questions about one image share: 1 is the same survivors, and two random choices of
# that many tokens would share about as much as the last column says. A single question has no rows.

# %%
figure_6.overlap_table(data)

# %% [markdown]
# **What this does not show.** A few examples are an illustration, not a measurement; the
# measurement is `table_1`.
