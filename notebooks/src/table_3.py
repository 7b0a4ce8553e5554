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
# language model that is retired. This notebook measures the bundled miniature on drawn clips of 8
# frames with 257 tokens each and questions of the same kinds, matched by rule: evidence about the
# methods, and no reproduction of the paper's numbers.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis import kinds
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.tables import table_1_views, table_3, table_3_views

results = table_3.measure(profile)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions about the same clips.

# %%
table_1_views.styled(table_3_views.readable(results), table_3_views.title(results))

# %%
print(table_3_views.notes(results))

# %% [markdown]
# ## By kind of question
#
# Percent right. What a shape does, who does it and how often it flashes need several frames in
# their order; colours, kinds and places need the patches of one.

# %%
kinds.frame(results).style.format(precision=0)

# %% [markdown]
# ## Published
#
# The paper's own numbers, which are of another model, other questions and another judge.

# %%
table_1_views.styled(table_3_views.readable_published(), table_3_views.PAPER_TITLE)

# %% [markdown]
# ## Does the claim hold?

# %%
print("\n".join(table_3_views.sentences(results)))

# %%
figure = table_3_views.figure(results)
ids = [record.id for record in results.records.values()]
save_figure(figure, "table_3", profile, ids, data=table_3_views.frame(results), study="table_3")
files = table_3_views.save(results)

# %% [markdown]
# **What is what.** *SparseVLM* has the counts of the image release, solved for 194 tokens;
# *SparseVLM (video)* is the program of the video release: one cut, as many tokens as the rank of
# the scores says, 30 % of the rest recycled. The paper's 194 is that program with its cut after
# layer 2 of 32. The miniature has 16 layers, so the same fraction of depth is after layer 1.
#
# **What this does not show.** The clips have two or three shapes on a plain ground; nothing happens
# outside the shapes, so what a question needs is in few tokens. The miniature was taught layer by
# layer to tell time (its card), and puts together what a shape does from its patches in layers 2 to
# 7, behind the first cut: which other frames a cut leaves matters more here than it may in a model
# that learned time by itself. The intervals take other questions into account, not another
# training run.
