# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 8: accuracy against FLOPs and latency, LLaVA
#
# **Claim.** At the same cost SparseVLM is above random choice of tokens on POPE, TextVQA and MME
# (paper, appendix G and Figure 8).
#
# **What would falsify it.** Random choice ahead at a budget, by a paired interval that excludes
# zero.
#
# The paper measures LLaVA-1.5-7B on an A100. This notebook measures the bundled miniature of eight
# layers (`mini-llava`, the cells of `table_1`): its accuracy, and its cost by the paper's FLOPs
# formula. Its latency on a CPU would say nothing of a GPU's and is not shown. The paper's figure
# prints no numbers; the lower rows draw those that its Table 1 has, which includes its latency.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_tradeoff, study_views
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_8
from sparsevlm.paper.figures.figure_8 import FIGURE
from sparsevlm.paper.tables import study_analytic

results = figure_8.measure(profile)

# %%
figure = study_tradeoff.draw(FIGURE, results)
data = study_tradeoff.frame(FIGURE, results)
study = results.profile.study
files = save_figure(figure, "figure_8", profile, results.ids, data=data, study=study)

# %%
print("\n".join(study_tradeoff.sentences(FIGURE, results)))

# %% [markdown]
# ## The cost axis of LLaVA-1.5-7B, recomputed
#
# No model runs here: our schedules and the paper's formula give the FLOPs that Table 1 prints.

# %%
study_views.styled(study_analytic.readable(), study_analytic.TITLE)

# %%
print("\n".join(study_analytic.sentences()))

# %% [markdown]
# **What this does not show.** GPU latency is not measured here; the milliseconds are the paper's.
# FLOPs leave out the scoring and the clustering, which random choice does not need, so equal FLOPs
# are not quite equal cost. The mean FLOPs of a setting are over all benchmarks of the study.
