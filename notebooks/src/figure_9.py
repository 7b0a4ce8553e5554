# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 9: accuracy against FLOPs, Mini-Gemini
#
# **Claim.** On Mini-Gemini, as on LLaVA, SparseVLM is above random choice of tokens at the same
# cost on POPE, TextVQA and MME (paper, appendix G and Figure 9).
#
# **What would falsify it.** Random choice ahead at a budget, by a paired interval that excludes
# zero.
#
# The paper measures Mini-Gemini-7B on an A100. This notebook measures the bundled miniature of that
# architecture (`mini-gemini`): its accuracy, and its cost by the paper's FLOPs formula. The paper's
# figure prints no numbers; the lower row draws what was read off its Figure 4, which has no MME and
# no latency. GPU latency is not measured here.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import study_tradeoff
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_9
from sparsevlm.paper.figures.figure_9 import FIGURE

results = figure_9.measure(profile)

# %%
figure = study_tradeoff.draw(FIGURE, results)
data = study_tradeoff.frame(FIGURE, results)
study = results.profile.study
files = save_figure(figure, "figure_9", profile, results.ids, data=data, study=study)

# %%
print("\n".join(study_tradeoff.sentences(FIGURE, results)))

# %%
data.round(1)

# %% [markdown]
# **What this does not show.** The miniature's scores say nothing of Mini-Gemini's; the same axis in
# two rows is not the same scale. The dense star is this model without pruning; the paper's dense
# point is its baseline.
