# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # A tour of SparseVLM: one picture, one question
#
# **Claim.** The algorithm is six short steps, and each can be looked at: which words rate, how they
# rate, how many tokens stay, which ones, what becomes of the best of the rest, and what it saves.
#
# **What would falsify it.** A number below that does not follow from the one before. The last step
# does the first cut again by hand and compares.
#
# All numbers are of the bundled miniature: a LLaVA of eight layers that sees 24 x 24 patches.

# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64  # budget, mean over layers of the visual tokens left

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.extras import tour, tour_drawing

found = tour.measure(profile, tokens)
suffix = "" if tokens == 64 else f"_{tokens}"
tour.sequence(found)

# %% [markdown]
# ## 1. Which words rate?
#
# Before the first layer every patch gives a softmax vote to the words of the question. The mean
# vote is a word's relevance; words above the mean rate. They are chosen once.

# %%
tour.words(found)

# %% [markdown]
# ## 2. How do they rate?
#
# P holds the attention of the rating words to the visual tokens, mean over heads, of the layer just
# run. A token's score is its column mean. Here the best tokens before the first cut.

# %%
tour.best_patches(found)

# %%
figure = tour_drawing.draw_scores(found)
files = save_figure(figure, "tour_scores" + suffix, profile)

# %% [markdown]
# ## 3. How many stay?
#
# The paper drops λ (tokens − rank of P). The release behind its Table 1 has fixed counts instead,
# used here; the last column is the λ that would drop as many. The rank is at most the number of
# raters, so it says more about the question than about the picture.

# %%
tour.levels(found)

# %% [markdown]
# ## 4. What becomes of the rest?
#
# The best 30 % of the dropped are grouped around density peaks, tokens that are dense and far from
# any denser one, and each group is merged into its mean.

# %%
figure = tour_drawing.draw_groups(found)
files = save_figure(figure, "tour_groups" + suffix, profile, data=tour.peaks(found))
tour.group_table(found)

# %% [markdown]
# ## 5. The new sequence, and the two cuts after it
#
# Kept tokens in their order, then the merged ones, then the text; positions are counted anew, so
# the question moves closer to the picture. A merged token can be kept or merged again later.

# %%
figure = tour_drawing.draw_life(found)
files = save_figure(figure, "tour_life" + suffix, profile)
tour.positions(found)

# %% [markdown]
# ## 6. What does it save?
#
# The budget is the mean of *tokens out*; what is computed and cached follows *tokens in*.

# %%
tour.accounting(found)

# %% [markdown]
# ## The answer, and the first cut by hand

# %%
tour.answers(found)

# %%
import torch

from sparsevlm.core import recycling, schedule, scoring

seen, cut = found.run.seen[0], found.run.sample.stages[0]
rows = torch.from_numpy(seen.rows)[:, found.run.raters]  # heads, raters, visual tokens
scores = scoring.score(scoring.mean_over_heads(rows))
kept = (found.stages[0].fate == 0).sum()
keep, best = recycling.select_top(scores, kept, schedule.recycled_counts(len(scores) - kept)[0])
assert keep.tolist() == cut.kept and sorted(best.tolist()) == sorted(sum(cut.groups, []))

# %% [markdown]
# **What this does not show.** Whether any of it is a good idea: that takes many questions and other
# methods (`table_1`). Latency: operations and cache are counted, not timed.
