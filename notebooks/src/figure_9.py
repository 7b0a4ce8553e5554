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
# The paper measures Mini-Gemini-7B on an A100. Filled marks are measured here, in percent of the
# dense score, against the tokens left and (above) their cost by the paper's FLOPs formula. The
# paper's figure prints no numbers; hollow marks were read off its Figure 4, which has no MME and no
# latency.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.figures import figure_9
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_9", globals())
results = figure_9.measure(page.profile)
(compared,) = figure_9.REPORT.page(results)

# %%
files = page.save_report(figure_9.REPORT, results)

# %%
compared

# %%
figure_9.REPORT.numbers(results).round(1)

# %% [markdown]
# **What this does not show.** GPU latency is not measured here. Each model is set against its own
# dense score: equal percentages are not equal scores.

# %%
remarks("figure_9", results)
