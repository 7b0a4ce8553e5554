# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 1: what the question changes
#
# **Claim.** Which visual tokens are worth keeping depends on the question, so a method that does
# not read the question keeps the same tokens whatever is asked (paper, Figure 1). SparseVLM lets
# the words of the question choose.
#
# **What would falsify it.** The same survivors for all questions in row (b), or survivors that show
# what is asked for no more often than chance in (d).
#
# The paper shows a photograph and LLaVA-1.5-7B. The text-agnostic method is ToMe, a baseline of the
# paper's Table 1.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # questions that are drawn; 0 for the usual number
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own; up to 3 of them, separated by |

# %%
from IPython.display import Markdown

from sparsevlm.paper.figures import figure_1
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_1", globals())
data = figure_1.measure(page.profile, tokens, image, question)
Markdown(data.about)

# %% [markdown]
# Words that rate are orange. Row (c) is colored as ToMe passes it on: every merged token in one
# color. It is the same whatever is asked; what each method answers is in the table below.

# %%
figure = figure_1.draw(data)
files = page.save(figure, data=figure_1.summary(data))

# %% [markdown]
# *Focus*, where it is known what is asked for: the share of the tokens left after the last stage
# that show it; a merged token counts by the share of its patches that do.

# %%
figure_1.table(data)

# %% [markdown]
# Panel (d) in numbers: percent, mean and 95 % bootstrap interval, over questions that were not
# picked and that name an object in their image. Chance is the area of that object. There are no
# rows where it is not marked what the questions name.

# %%
figure_1.summary(data)

# %% [markdown]
# **What this does not show.** That focus buys accuracy: `table_1` measures it, beside text-agnostic
# controls.

# %%
remarks("figure_1", page)
