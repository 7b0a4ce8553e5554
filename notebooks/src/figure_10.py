# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 10: accuracy against tokens and FLOPs, Video-LLaVA
#
# **Claim.** On Video-LLaVA SparseVLM is above random choice of tokens at the same budget on TGIF
# and MSVD (paper, appendix G and Figure 10).
#
# **What would falsify it.** Random choice ahead at a budget, by a paired interval that excludes
# zero.
#
# The paper measures Video-LLaVA-7B on an A100, judged by a language model that is retired. Filled
# marks are measured here, in percent of the dense accuracy (matched by rule, or judged, as the
# comparison says), against the tokens left and (above) their cost by the paper's FLOPs formula. The
# paper's figure prints no numbers; hollow marks are the one setting that its Table 3 has.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
judge: str = ""  # model or id, where several judges have judged; "match" for none
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.figures import figure_10
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks

page = begin("figure_10", globals())
results = figure_10.measure(page.profile, judge=judge)
(compared,) = figure_10.REPORT.page(results)

# %%
files = page.save_report(figure_10.REPORT, results)

# %%
compared

# %%
figure_10.REPORT.numbers(results).round(1)

# %% [markdown]
# **What this does not show.** GPU latency is not measured here. The budgets of the paper's curve
# are not published, so those here are ours. Random choice in a clip loses single patches of single
# frames; where an object is visible in all frames, much of a clip is redundant, and random choice
# is a strong control.

# %%
remarks("figure_10", results)
