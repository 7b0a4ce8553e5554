# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Any study: a comparison of your own
#
# A study is an entry in `data/studies.yaml`: benchmarks, methods, budgets, and the model of each
# profile. Name it below, and this notebook computes what is missing, compares the methods on the
# same questions, and draws what each costs. Results are shared with every other notebook.
#
# ```yaml
# studies:
#   mine:
#     benchmarks: [pope, textvqa]
#     methods: [sparsevlm, fastv, random]
#     budgets: [128, 64]
# ```

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
judge: str = ""  # model or id, where several judges have judged; "match" for none
study: str = "controls"  # a name in data/studies.yaml
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.analysis import tables
from sparsevlm.paper.extras import any_study
from sparsevlm.paper.page import begin

page = begin("study", globals())
results = any_study.measure(page.profile, study, judge)

# %% [markdown]
# ## Measured
#
# *Ahead by* is the relative accuracy of the study's first method minus the row's at the same
# budget, with the interval of a paired bootstrap.

# %%
measured, compared = any_study.page(results)
measured

# %%
compared

# %%
figure, data = any_study.figure(results), tables.numbers(results)
files = page.save(figure, data=data, sources=results.ids, study=study)
