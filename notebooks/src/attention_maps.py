# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Attention maps: where do the words look?
#
# **Claim.** SparseVLM rests on this: the words that rate look at what the question is about, in the
# layers where it prunes, and more so than all words together or the last token, which FastV uses.
#
# **What would falsify it.** Raters whose attention on the target is near the target's share of the
# area at the layers of the pruning stages, or below that of the last token.
#
# The paper has no such figure.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # questions that are drawn for the curve; 0 for the usual number
model: str = ""  # another model than the profile's own
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own
method: str = "sparsevlm"  # what prunes, such as fastv; dense for nothing
tokens: int = 64  # budget, mean over layers of the visual tokens left
layers: list[int] = []  # after which to look, up to eight; [] for those where the method prunes
words: str = ""  # whose attention, such as "ring cat"; those that the method looks at if empty
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from IPython.display import Markdown

from sparsevlm.paper.extras import attention_drawing, attention_maps
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("attention_maps", globals())
data = attention_maps.measure(page.profile, method, tokens, layers, words, image, question)
Markdown(data.about)

# %% [markdown]
# A row per stage: what is there before it, where the words in color look (mean over heads and
# words; a scale per panel, the shade follows the square root), what is left, and what is lost of
# the **target**, which is what the question names; where nobody marked it, the most attended
# patches that are dropped. A merged token is drawn on all patches that are in it.

# %%
figure = attention_drawing.draw_stages(data.stages)
files = page.save(figure, "stages", data=attention_maps.stage_table(data.stages))

# %% [markdown]
# ## Over drawn questions, without pruning
#
# Of the attention that goes to the image, the share that lies on what the question names; where
# that is not marked, the share of all attention that goes to the image. Bands are 95 % bootstrap
# intervals over the questions.

# %%
figure = attention_drawing.draw_layers(data)
files = page.save(figure, "layers", data=attention_maps.table(data))

# %% [markdown]
# The same in numbers. A **sink** is a visual token that at least half of the words after the image
# look at more than four times as much as at the mean token, whatever they mean (of the question
# above, mean over heads).

# %%
attention_maps.table(data).filter(regex="image|target|sinks")

# %% [markdown]
# **What this does not show.** That attention is what matters: `figure_7` deletes tokens instead,
# and in [explore](explore.ipynb) a click forces a patch to stay or go.

# %%
remarks("attention_maps", page)
