# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Controls: what text guidance really buys
#
# **Question.** Is it the question that makes SparseVLM's choice of tokens good, or would any choice
# of as many do? Three controls look at nothing: tokens at random, tokens on a uniform grid, and the
# picture at a lower resolution (a pooled grid). A fourth is SparseVLM with all text tokens rating,
# which tells what the selection of raters adds.
#
# **What would speak against text guidance.** A control that looks at nothing, level with SparseVLM
# or ahead of it, at the same budget on the same questions.
#
# The paper compares with none of these in its tables. The answers are those of the bundled
# miniature of eight layers (`mini-llava`) on procedural questions: evidence about the methods, and
# no result of LLaVA-1.5.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_views
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.extras import controls

results = controls.measure(profile)

# %%
print("\n".join([*controls.summary(results), controls.costs(results)]))

# %% [markdown]
# ## Measured

# %%
study_views.styled(study_views.readable(results), study_views.title(results))

# %%
print(study_views.notes(results))

# %% [markdown]
# ## Where it helps and where it hurts
#
# Above zero SparseVLM is better than the control. With so many intervals some exclude zero by
# chance; MME is in points.

# %%
study_views.styled(controls.by_benchmark(results), controls.BY_BENCHMARK_TITLE)

# %% [markdown]
# ## Answer by answer

# %%
print("\n".join(controls.sentences(results)))

# %%
figure = controls.figure(results)
numbers = study_views.frame(results)
save_figure(figure, "controls", profile, results.ids, data=numbers, study="controls")
files = controls.save(results)

# %% [markdown]
# **How to read a strong grid.** In a drawn scene every object covers several patches, so an even
# sample of the picture loses none of them: a control that is hard to beat says that the scenes are
# easy to thin. A photograph whose question is about a small detail is not, and there a choice that
# knows the question has more to win. What is measured here is therefore the case least favourable
# to text guidance, and it is shown as it comes out.
#
# **What this does not show.** The intervals take other questions into account, not another training
# run of the miniature.
