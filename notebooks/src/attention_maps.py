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
# area at the layers of the cuts (0, 1 and 3 here), or below that of the last token.
#
# The paper has no such figure. All maps are of the bundled miniature without pruning.

# %% tags=["parameters"]
profile: str = "mini"
num_questions: int = 20  # drawn, not chosen

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.extras import attention_maps, attention_maps_drawing

found = attention_maps.measure(profile, num_questions=num_questions)
suffix = "" if num_questions == 20 else f"_{num_questions}"

# %% [markdown]
# One question, all layers and heads. A **sink** is a visual token that at least half of the words
# after the image look at more than four times as much as at the mean token (mean over heads).

# %%
figure = attention_maps_drawing.draw_heads(found)
files = save_figure(figure, "attention_maps_heads" + suffix, profile)

# %% [markdown]
# Sinks of this question: how many, how many that every word looks at so, and how many of them show
# the target, which then is no sink but found by many words.

# %%
attention_maps.sink_table(found)

# %% [markdown]
# Over drawn questions: of the attention that goes to the image, the share that lies on what the
# question names. Bands are 95 % bootstrap intervals over the questions.

# %%
figure = attention_maps_drawing.draw_layers(found)
name, data = "attention_maps_layers" + suffix, attention_maps.table(found)
files = save_figure(figure, name, profile, data=data)

# %%
attention_maps.table(found)

# %% [markdown]
# **What this does not show.** That attention is what matters: `figure_7` deletes tokens instead.
# That LLaVA looks so: look-ups, in which the naming word itself must read the attribute, are part
# of the miniature's training, so that its words look early; and a model trained for a few hours
# need not have the sinks of a large one.
