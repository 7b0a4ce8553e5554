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
# A vision-language model reads a picture as hundreds of tokens, of which a question needs few.
# SparseVLM lets the **words of the question choose them**, layer by layer, without training. This
# page follows one question through the method. Every step is a call of `sparsevlm.core`, made here
# by hand from what the model was given, and compared with what the model itself did.
#
# **What would falsify it.** A step without its ✓: then the page does not show what the model does.

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
from sparsevlm.paper.remarks import remarks

page = begin("tour", globals())
data = tour.measure(page.profile, tokens, image, question)
visual, text, attention, hidden = data.inputs  # what the method is given
display(Markdown(data.about), remarks("tour", page), tour.say("question", data))
files = page.save(tour_drawing.draw_question(data), "question")

# %% [markdown]
# ## 1. Which words may choose?
#
# Most words say nothing about the picture. So before the first layer every patch votes for the
# words nearest to it: a softmax over the words of plain dot products. A word's **relevance** is its
# share of all votes; words above the mean are the **raters**. They are chosen once.

# %%
from sparsevlm.core import raters

relevance = raters.text_relevance(visual, text)  # [words], sums to 1
rating = raters.select_raters(visual, text)  # where it is above its mean
display(tour.shaded_words(data, relevance, rating), tour.say("raters", data, relevance, rating))

# %% [markdown]
# ## 2. How do they choose?
#
# By looking. The model has run as far as its first **stage**, after which tokens will go. In the
# layer before it every rater attended to every visual token, and the matrix **P** holds this
# attention, mean over the heads: dark where a rater looks.

# %%
from sparsevlm.core import scoring

P = scoring.mean_over_heads(attention[:, rating])  # [raters, visual tokens]
scores = scoring.score(P)  # [visual tokens]: the mean of every column
display(tour.say("scores", data, P, scores))
files = page.save(tour_drawing.draw_rating(data, P, scores), "scores", data.table())

# %% [markdown]
# ## 3. How many stay, and which?
#
# The budget says how many tokens stay; the scores say which. Of those that would go the best 30 %
# get a second chance. In the picture a kept patch is outlined, a recycled one blue, a dropped one
# pale.

# %%
from sparsevlm.core import recycling, schedule, sparsity

rank = sparsity.numerical_rank(P)
kept = schedule.kept_count(data.keep, len(scores))
recycled, groups = schedule.recycled_counts(len(scores) - kept)
keep, best = recycling.select_top(scores, kept, recycled)
display(tour.say("level", data, kept, rank), tour.say("choice", data, scores, keep, best))
files = page.save(tour_drawing.draw_choice(data, scores, keep, best), "choice")

# %% [markdown]
# ## 4. What becomes of the recycled ones?
#
# Neighbors in the picture often say the same. So the recycled tokens are grouped by their hidden
# states around **density peaks**, and each group goes on as one token.

# %%
squared = recycling.squared_distance(hidden[best])
density = recycling.knn_density(squared, groups, hidden.shape[1])
centers = recycling.density_peaks(squared, density, groups)  # dense, and far from denser ones
labels = recycling.assign(hidden[best], squared, centers)  # the nearest center
merged = recycling.merge(hidden[best], labels, groups)  # the mean of every group
display(tour.say("groups", data, best, labels))
figure = tour_drawing.draw_groups(data, best, squared, density, centers, labels)
files = page.save(figure, "groups")

# %% [markdown]
# ## 5. What does the next layer read?
#
# The kept and the merged tokens in place of the picture; all other tokens stay as they are.

# %%
import torch

left = torch.cat([hidden[keep], merged])  # in place of all visual tokens
display(tour.say("sequence", data, keep, merged))
files = page.save(tour_drawing.draw_sequence(data, len(keep), len(left)), "sequence")

# %% [markdown]
# ## 6. And again, deeper in the model
#
# What the text has read in one layer it carries to the next, so ever less of the picture has to
# stay. A merged token is a token like any other: it can be kept or merged again. From left to
# right: what is there before a stage, where the raters look, what is left, and what is lost.

# %%
from sparsevlm.paper.extras import attention_drawing, attention_maps

display(tour.say("stages", data))
looked = attention_maps.StageAttention(data.run, data.run.raters)
figure = attention_drawing.draw_stages(looked, with_answer=False)
files = page.save(figure, "life", attention_maps.stage_table(looked))

# %% [markdown]
# ## 7. Is the answer still right?
#
# The same question, end to end: to the **dense** model, which keeps all tokens, and to the pruned.

# %%
from sparsevlm.analysis.observe import ask_example
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.loaded import load_model

loaded = load_model(page.profile)
dense = ask_example(loaded, data.run.example, Dense())
pruned = ask_example(loaded, data.run.example, data.pruner)
display(tour.say("answers", data, dense, pruned))
files = page.save(tour_drawing.draw_answers(dense, pruned), "answers")

# %% [markdown]
# ## 8. And another question about the same picture?
#
# What one question throws away may be what the next one asks for. A `Conversation` encodes the
# picture once and prunes the whole anew for each question; its last words alone choose. What an
# answer on the survivors of the first question would lose is measured in
# [docs/algorithm.md](../docs/algorithm.md#several-questions-about-one-picture).

# %%
asked = tour.converse(loaded, data, image)
files = page.save(tour_drawing.draw_conversation(asked), "conversation")

# %% [markdown]
# ## Try your own
#
# Change `image`, `question` or `tokens` in the parameters above and run all cells, or:
#
# ```bash
# papermill notebooks/tour.ipynb mine.ipynb -p image photo.jpg -p question "What is on the table?"
# ```
#
# `-p profile a100` asks LLaVA-1.5-7B, `-p model` any other. To force a patch to stay or go and see
# the answer change, open [explore](explore.ipynb); for any word, method and layer,
# [attention_maps](attention_maps.ipynb). Formulas: [docs/algorithm.md](../docs/algorithm.md).
#
# **What this does not show.** Whether it is a good idea: that takes many questions and other
# methods ([table_1](table_1.ipynb)). Time: operations and cache are counted.
