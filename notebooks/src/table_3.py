# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Table 3: four video benchmarks at 194 of 2048 visual tokens
#
# **Claim.** With 90.5 % of the visual tokens of Video-LLaVA pruned, SparseVLM keeps 95.0 % of the
# accuracy and FastV 80.3 % (paper, section 5.2 and Table 3).
#
# **What would falsify it.** FastV at or above SparseVLM by more than chance (an interval that
# excludes zero), or SparseVLM no better than keeping tokens at random.
#
# The paper measures Video-LLaVA-7B on the first 1000 questions of each benchmark, judged by a
# language model that is retired. Here answers are matched by rule until `sparsevlm judge` has had
# them judged; the notes under the table say which, and by whom.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # samples of each benchmark; 0 for all
model: str = ""  # another model than the profile's own
judge: str = ""  # model or id, where several judges have judged; "match" for none
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %%
from sparsevlm.paper.page import begin
from sparsevlm.paper.remarks import remarks
from sparsevlm.paper.tables import table_3

page = begin("table_3", globals())
results = table_3.measure(page.profile, judge=judge)
measured, published, claim = table_3.page(results)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions about the same clips.

# %%
measured

# %% [markdown]
# ## By kind of question

# %%
table_3.by_kind(results)

# %% [markdown]
# ## Published
#
# The paper's own numbers, which come from another judge.

# %%
published

# %% [markdown]
# ## Does the claim hold?

# %%
claim

# %%
files = page.save_report(table_3.REPORT, results)

# %% [markdown]
# **What the rows are.** *SparseVLM* has the counts of the image release, solved for 194 tokens;
# *SparseVLM (video)* is the program of the video release: one stage, as many tokens as the rank of
# the scores says, 30 % of the rest recycled. The paper's 194 is that program with its stage after
# layer 2 of 32.

# %%
remarks("table_3", results)
