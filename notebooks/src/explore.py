# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Explore: why a patch was kept or dropped
#
# Take an image, ask a question, choose a method and a budget; see which patches survive each stage,
# which words rated them, into which groups the dropped ones were recycled, and what that did to the
# answer. Then change it: **click a patch**, or drag over several, to force it to stay or go, and
# **click a word** to let it rate or not. [How to read and use it](../docs/explorer.md).
#
# `profile` says which model runs, and where: "mini" on a laptop, "a100" LLaVA-1.5-7B on a GPU.
# `model` names another one, of `sparsevlm list`, or the folder of a checkpoint.

# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0  # of samples, as in every notebook; nothing is limited here
model: str = ""  # another model than the profile's own
image: str = ""  # a sample in data/samples, or the file of an image or video; "" for the first
question: str = ""  # the first one listed with the sample
method: str = "sparsevlm"
tokens: int | None = None  # budget, mean over layers of the tokens left; None: 64 of 576
session: str = ""  # a session.json.gz that someone shared

# %%
from sparsevlm.explorer import explore, is_live
from sparsevlm.paper.page import begin

page = begin("explore", globals())
explorer = explore(page.profile, image=image, question=question, method=method, tokens=tokens,
                   session=session)  # fmt: skip
explorer if is_live() else None

# %% [markdown]
# The same as a figure, of the state above; run the cell again after a change. It needs no browser,
# so it is what papermill, HTML and print show.

# %%
figure = explorer.figure()
files = page.save(figure)

# %% [markdown]
# The other methods at the same budget, on the same question.

# %%
comparison = explorer.comparison()

# %% [markdown]
# **What this does not show.** One image is an illustration; `table_1` measures. Attention is not
# attribution: that a word looks at a patch does not say that the answer depends on it, and forcing
# the patch does.
