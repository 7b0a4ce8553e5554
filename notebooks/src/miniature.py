# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Are the miniatures fair stand-ins?
#
# Every number of the profile `mini` comes from one of five small models that were trained for this
# suite: two LLaVAs (32 and 8 layers), a Mini-Gemini, a Video-LLaVA and a Qwen2-VL. They run the
# unmodified architectures, but they know some hundred words and have never seen a photograph.
#
# **What a stand-in must show.** Text that looks at what it names; an image that is needed at the
# depth of the stages; a budget at which it matters *which* tokens stay.
#
# **What would disqualify one.** Random tokens that cost nothing at the smallest budget, or stages
# that all come after the last layer which reads the image.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.extras import miniature_validity, significance
from sparsevlm.paper.page import begin

page = begin("miniature", globals())
found = miniature_validity.load(page.profile)

# %% [markdown]
# ## Where they look, and how deep
#
# Attention on the object that a question names, in the best head of each layer, of the word that
# names it and of the last token; in black the share of questions still answered right when no text
# token sees the image from that layer on. In every table, pruning layers follow one rule, the
# fractions of depth of the paper (after layers 2, 6 and 15 of 32); none was chosen by a result.
# `mini-llava-32` has the paper's depth, so its layers and its lists are the official ones.

# %%
figure = miniature_validity.draw_attention(found)
files = page.save(figure, "attention", miniature_validity.attention_frame(found))

# %% [markdown]
# ## What pruning costs them

# %%
figure = miniature_validity.draw_price(found)
ids = [r.id for one in found for r in one.results.records.values()]
comparisons = miniature_validity.comparisons(found)
files += page.save(figure, "price", comparisons, ids)

# %%
miniature_validity.price(found)

# %% [markdown]
# ## What remains of each difference
#
# The same questions asked of 8 and of 32 layers, SparseVLM minus the other method in points of
# relative accuracy with its paired 95 % interval; beside it the paper's difference, and that of
# others who ran both methods in one environment, for LLaVA-1.5-7B.

# %%
miniature_validity.remains(found)

# %% [markdown]
# ## Which methods separate
#
# SparseVLM minus the other method at the same budget, in points of relative accuracy, with the 95 %
# interval of a paired bootstrap over questions; nothing is corrected for the number of comparisons.

# %%
comparisons.style.format(precision=1).hide(axis="index")

# %% [markdown]
# ## The same with about 2,000 questions
#
# At the smallest budget only. This takes too long for every run, so it is measured by a command of
# its own (`sparsevlm significance`), study by study; shown is what is kept
# in `data/miniature/separation.json`.

# %%
measured = significance.read()
table = significance.frame(measured)
files += page.save(significance.draw(table), "separation", table)
significance.sources(measured).style.hide(axis="index")

# %%
table.style.format(precision=1).hide(axis="index")

# %% [markdown]
# Which kinds of question the dense miniatures answer below 95 %, of the same questions:

# %%
weak = significance.dense_frame(measured).query("accuracy < 95")
weak.style.format(precision=1).hide(axis="index")

# %% [markdown]
# ## Where they differ from the paper's models, and why
#
# - **They read early.** A miniature of 8 or 16 layers has read the image in the first half of its
#   layers, and the last stage then drops what no answer needs.
# - **The last token is late.** FastV scores by the last token at the layer of its stage. In eight
#   layers that is layer 0, where it knows nothing of the question; in 32 it is layer 2.
# - **Where 32 layers read was arranged.** Trained without care, a deep decoder reads all in its
#   first two layers. `mini-llava-32` was trained so that it begins at layer 2 (its card says how),
#   because words that know of each other are what a large language model brings along.
# - **Mini-Gemini is grown.** Every second of its layers was inserted, and the paper's fractions of
#   depth put its stages after such layers, which read less.
# - **Drawn scenes are easy to thin.** Objects cover several tokens each; a grid or a pooled image
#   keeps a part of every one. Photographs with small details are harder to thin blindly.
# - **The raters' assumption was trained in.** Visual tokens and words are aligned by a captioning
#   loss that makes their inner products meaningful, which is what the rater rule assumes. A
#   miniature shows the mechanism; it is no independent evidence for it.
#
# The cards in `data/miniature/` hold recipe, curves and accuracy by kind of question.
