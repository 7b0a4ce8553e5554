# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # A tour of SparseVLM: one image, one question
#
# **Claim.** The algorithm is six short steps, and each can be looked at: which words rate, how they
# rate, how many tokens stay, which ones, what becomes of the best of the rest, and what it saves.
#
# **What would falsify it.** A number below that does not follow from the one before. The last step
# does the first pruning stage again by hand and compares.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # no effect here: no question is drawn
model: str = ""  # another model than the profile's own
tokens: int = 64  # budget, mean over layers of the visual tokens left
image: str = ""  # a file, a name in data/samples, or scene_7 for a model that draws scenes
question: str = ""  # your own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from IPython.display import Markdown, display

from sparsevlm.paper.extras import tour, tour_drawing
from sparsevlm.paper.page import begin

page = begin("tour", globals())
data = tour.measure(page.profile, tokens, image, question)
display(Markdown(data.about))
tour.sequence(data)

# %% [markdown]
# ## 1. Which words rate?
#
# Before the first layer every patch gives a softmax vote to the words of the question. The mean
# vote is a word's relevance; words above the mean rate. They are chosen once.

# %%
tour.words(data)

# %% [markdown]
# ## 2. How do they rate?
#
# P holds the attention of the rating words to the visual tokens, mean over heads, of the layer just
# run. A token's score is its column mean. Here the best tokens before the first stage.

# %%
tour.best_patches(data)

# %%
figure = tour_drawing.draw_scores(data)
files = page.save(figure, "scores")

# %% [markdown]
# ## 3. How many stay?
#
# The paper drops λ (tokens − rank of P). The release behind its Table 1 has fixed counts instead,
# used here; the last column is the λ that would drop as many. The rank is at most the number of
# raters, so it says more about the question than about the image.

# %%
tour.levels(data)

# %% [markdown]
# ## 4. What becomes of the rest?
#
# The best 30 % of the dropped are grouped around density peaks, tokens that are dense and far from
# any denser one, and each group is merged into its mean.

# %%
figure = tour_drawing.draw_groups(data)
files = page.save(figure, "groups", data=tour.peaks(data))
tour.group_table(data)

# %% [markdown]
# ## 5. The new sequence, and the stages after it
#
# Kept tokens in their order, then the merged ones, then the text; positions are counted anew, so
# the question moves closer to the image. A merged token can be kept or merged again later.

# %%
figure = tour_drawing.draw_life(data)
files = page.save(figure, "life")
tour.positions(data)

# %% [markdown]
# ## 6. What does it save?
#
# The budget is the mean of *tokens out*; what is computed and cached follows *tokens in*.

# %%
tour.accounting(data)

# %% [markdown]
# ## The answer, and the first stage by hand

# %%
tour.answers(data)

# %%
import torch

from sparsevlm.core import recycling, schedule, scoring

seen, traced = data.run.stages[0], data.run.sample.stages[0]
rows = torch.from_numpy(seen.rows)[:, data.run.raters]  # heads, raters, visual tokens
scores = scoring.score(scoring.mean_over_heads(rows))
kept = int((data.run.breakdowns[0].status == 0).sum())
keep, best = recycling.select_top(scores, kept, schedule.recycled_counts(len(scores) - kept)[0])
same = len(set(keep.tolist()) & set(traced.kept)) / len(traced.kept)
assert same > 0.99, "rounding may swap tokens of equal score in half precision, no more"
f"{100 * same:.1f} % of the {len(traced.kept)} kept tokens are the same"

# %% [markdown]
# **What this does not show.** Whether any of it is a good idea: that takes many questions and other
# methods (`table_1`). Latency: operations and cache are counted, not timed.
