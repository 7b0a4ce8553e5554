# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 11: more pictures, more questions
#
# **Claim.** Cut by cut, what is left is what the question asks for, for all kinds of questions
# (paper, Figure 11).
#
# **What would falsify it.** Survivors that miss the object asked for. Where they do here, the
# answer is wrong, and it is the choice of raters that fails, as in `figure_3`.
#
# The paper shows photographs and LLaVA-1.5-7B; these are scenes of the bundled miniature, with one
# or more questions from each of its eight benchmarks. `figure_6` has six more.

# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64  # budget, mean over layers of the visual tokens left

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_11

found = figure_11.measure(profile, tokens)

# %% [markdown]
# A wrong answer is followed by the true one in brackets.

# %%
figure = figure_11.draw(found)
name = "figure_11" if tokens == 64 else f"figure_11_{tokens}"
files = save_figure(figure, name, profile, data=figure_11.table(found))

# %%
figure_11.table(found)

# %% [markdown]
# **What this does not show.** How often it goes well: the examples were picked for different kinds
# of questions, and twelve are no estimate. `table_1` measures.
