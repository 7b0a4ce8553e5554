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
# The paper measures LLaVA-1.5-7B on an A100. Filled marks are measured here, in percent of the
# dense score, against the tokens left and (above) their cost by the paper's FLOPs formula. The
# paper's figure prints no numbers; hollow marks are those of its Table 1, which has latencies too.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.analysis import accounting
from sparsevlm.paper.figures import figure_8
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_8", globals())
results = figure_8.measure(page.profile)
(compared,) = figure_8.REPORT.page(results)

# %%
files = page.save_report(figure_8.REPORT, results)

# %%
compared

# %% [markdown]
# ## The cost axis of LLaVA-1.5-7B, recomputed
#
# No model runs here: our schedules and the paper's formula give the FLOPs that Table 1 prints.

# %%
accounting.section()

# %% [markdown]
# **What this does not show.** GPU latency is not measured here; the milliseconds are the paper's.
# FLOPs leave out the scoring and the clustering, which random choice does not need, so equal FLOPs
# are not quite equal cost. The mean FLOPs of a setting are over all benchmarks of the study.

# %%
remarks("figure_8", results)
