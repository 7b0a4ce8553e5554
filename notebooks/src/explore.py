# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Explore: which patches survive, and why
#
# **Run ▸ Run All Cells**, then follow the lesson or ask.
# [How to read and use it](../docs/explorer.md).

# %% tags=["parameters"] jupyter={"source_hidden": true}
profile: str = "mini"
limit: int = 0  # of samples, as in every notebook; nothing is limited here
model: str = ""  # another model of `sparsevlm list`, or the folder of a checkpoint
image: str = ""  # a sample in data/samples, or the file of an image or video; "" for the first
question: str = ""  # the first one listed with the sample
method: str = "sparsevlm"
tokens: int | None = None  # budget, mean over layers of the tokens left; None: 64 of 576
session: str = ""  # a session.json.gz that someone shared
width: float = 6.75  # inches of the figures: 6.75 or 3.25, two columns or one

# %% jupyter={"source_hidden": true}
from sparsevlm.explorer import explore, is_live
from sparsevlm.paper.page import begin

page = begin("explore", globals())
explorer = explore(page.profile, model=model, image=image, question=question, method=method,
                   tokens=tokens, session=session)  # fmt: skip
explorer if is_live() else None

# %% [markdown]
# The same as a figure, of the state above; run the cell again after a change. It needs no browser,
# so it is what papermill, HTML and print show.

# %% jupyter={"source_hidden": true}
figure = explorer.figure()
files = page.save(figure)

# %% [markdown]
# The other methods at the same budget, on the same question.

# %% jupyter={"source_hidden": true}
comparison = explorer.comparison()

# %% [markdown]
# `profile` says which model runs, and where: "mini" on a laptop, "a100" LLaVA-1.5-7B on a GPU. It
# is set in the first, folded cell.
#
# **What this does not show.** One image is an illustration; `table_1` measures. Attention is not
# attribution: that a word looks at a patch does not say that the answer depends on it, and forcing
# the patch does.
