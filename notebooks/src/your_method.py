# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Your own method in ten lines
#
# A vision-language model reads a picture as hundreds of **visual tokens**, one per patch. Most can
# be dropped between two layers without changing the answer, if one knows which. A pruning method
# is a rule that gives every token a **score**; the best stay. Write yours below and run all cells:
# you see what it keeps, how often the model still answers right, and what that costs, beside
# SparseVLM, FastV and two controls that look at nothing.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for those of the study
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %% [markdown]
# ## Write a score
#
# It is asked for one question at a time, at each of three stages in the depth of the model. `n`
# visual tokens are left there:
#
# | argument | shape | what it is |
# |---|---|---|
# | `visual` | `[n, hidden]` | the hidden states of these tokens |
# | `attention` | `[heads, words, n]` | how much each word after the picture attends to each token |
# | `question` | text | what was asked |
#
# Return `n` numbers, higher = keep. This one asks what the most attentive word looks at, and
# prefers tokens that differ from the average of the picture.

# %%
from torch import nn


def score(visual, attention, question):
    looked_at = attention.mean(dim=0).amax(dim=0)  # by the word that looks at it most
    alike = nn.functional.cosine_similarity(visual, visual.mean(dim=0, keepdim=True))
    return looked_at * (2 - alike)


# %%
import sparsevlm as sv
from sparsevlm.analysis import tables
from sparsevlm.paper.extras import variants, your_method
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("your_method", globals())
method = sv.own_method(score)

# %% [markdown]
# ## What it keeps
#
# At the smallest budget, after the last stage. Pale patches are dropped; tinted ones SparseVLM has
# merged with others.

# %%
asked = your_method.survivors(page.profile, method)
files = page.save(your_method.draw_survivors(asked, method), "survivors")

# %% [markdown]
# ## How good it is, and what it costs
#
# Every method prunes at the same budget (visual tokens *left* by a layer, mean over layers) and
# answers the same questions. *Yours ahead by* is your relative accuracy minus the row's, with the
# 95 % interval of a paired bootstrap: where it includes zero, these questions cannot tell the two
# apart. *Tokens in* are those that a layer processes; FLOPs are of the prompt.

# %%
results = your_method.measure(page.profile, method)
variants.measured(results)

# %%
figure, data = variants.figure(results), tables.numbers(results)
files = page.save(figure, data=data, sources=results.ids, study="your_method")

# %% [markdown]
# ## Keep it
#
# Your answers are not stored: a function in a notebook has no file whose version a result could
# name, so they are computed anew each time, the others' once. In your own code:
#
# ```python
# pruner = sv.make_pruner("yours", tokens=64, num_layers=32, num_visual=576)
# with sv.prune(model, pruner, questions=[question]):
#     model.generate(**inputs)
# ```
#
# As a file of `sparsevlm/methods` with a line in its registry it gets results that are kept, and a
# place in every table ([docs/architecture.md](../docs/architecture.md)).
#
# **What this does not show.** A score that was changed until it wins on these questions has been
# fitted to them; measure it on others before you believe it.

# %%
remarks("your_method", results)
