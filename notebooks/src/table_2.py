# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Table 2: Qwen2-VL, pictures of any size at 600, 500 and 400 tokens
#
# **Claim.** On Qwen2-VL, whose pictures have about 1320 visual tokens, SparseVLM at 600 tokens
# keeps 98 % of the accuracy and loses little more at 500 and 400 (paper, Table 2).
#
# **What would falsify it.** A large loss already at 600 tokens, or SparseVLM no better than FastV
# or than keeping tokens at random, by an interval that excludes zero.
#
# The paper measures Qwen2-VL-7B and prints no baseline. This notebook measures the bundled
# miniature, the same architecture with 8 layers, on drawn pictures of 1230 to 1410 tokens and
# questions of the same kinds: evidence about the methods, no reproduction of the paper's numbers.

# %% tags=["parameters"]
profile: str = "mini"

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.tables import table_1_views, table_2, table_2_views

results = table_2.measure(profile)

# %% [markdown]
# ## Measured
#
# Every method has answered the same questions about the same pictures.

# %%
table_1_views.styled(table_2_views.readable(results), table_2_views.title(results))

# %%
print(table_2_views.notes(results))

# %% [markdown]
# ## Published
#
# The paper's own numbers, which are of another model and other questions.

# %%
table_1_views.styled(table_2_views.readable_published(), table_2_views.PAPER_TITLE)

# %% [markdown]
# ## Does the claim hold?

# %%
print("\n".join(table_2_views.sentences(results)))

# %%
figure = table_2_views.figure(results)
ids = [record.id for record in results.records.values()]
save_figure(figure, "table_2", profile, ids, data=table_2_views.frame(results), study="table_2")
files = table_2_views.save(results)

# %% [markdown]
# **What is what.** The paper gives neither layers nor counts for Qwen2-VL, and no code. *SparseVLM*
# here has the shape of the image release (stages at the same fractions of depth, 30 % recycled),
# solved for the budget on the nominal picture of 1296 tokens; *FastV* has one cut.
#
# **What this does not show.** About 170 of the tokens of a picture show a thing and the rest is
# background, so much can go before anything is lost: photographs of text are denser. The intervals
# take other questions into account, not another training run of the miniature.
