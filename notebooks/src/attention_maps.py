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
# The paper has no such figure. All maps are of the model without pruning.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # questions that are drawn; 0 for the usual number
model: str = ""  # another model than the profile's own
layers: list[int] = []  # whose maps are drawn, up to eight; [] for all, or eight of them
words: str = ""  # words to look at closely, such as "cat eyes"; those that rate if empty
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own

# %%
from IPython.display import Markdown

from sparsevlm.paper.extras import attention_maps
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("attention_maps", globals())
data = attention_maps.measure(page.profile, layers, words, image, question)
Markdown(data.about)

# %% [markdown]
# One question, layers and heads. A **sink** is a visual token that at least half of the words after
# the image look at more than four times as much as at the mean token (mean over heads).

# %%
figure = attention_maps.draw_heads(data)
files = page.save(figure, "heads")

# %% [markdown]
# Sinks of this question: how many, and how many that every word looks at so. Where the target is
# known, how many of them show it, which then is no sink but found by many words.

# %%
attention_maps.sink_table(data)

# %% [markdown]
# Over drawn questions: of the attention that goes to the image, the share that lies on what the
# question names; where that is not marked, the share of all attention that goes to the image. Bands
# are 95 % bootstrap intervals over the questions.

# %%
figure = attention_maps.draw_layers(data)
files = page.save(figure, "layers", data=attention_maps.table(data))

# %%
attention_maps.table(data)

# %% [markdown]
# **What this does not show.** That attention is what matters: `figure_7` deletes tokens instead.

# %%
remarks("attention_maps", page)
