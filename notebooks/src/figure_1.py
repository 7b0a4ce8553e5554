# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Figure 1: what the question changes
#
# **Claim.** Which visual tokens are worth keeping depends on the question, so a method that does
# not read the question keeps the same tokens whatever is asked (paper, Figure 1). SparseVLM lets
# the words of the question choose.
#
# **What would falsify it.** The same survivors for all three questions in row (b), or survivors
# that show what is asked for no more often than chance in (d).
#
# The paper shows a photograph and LLaVA-1.5-7B. This is the bundled miniature and a drawn scene;
# the text-agnostic method is ToMe, a baseline of the paper's Table 1.

# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64  # budget, mean over layers of the visual tokens left

# %%
from sparsevlm.analysis.style import save_figure
from sparsevlm.paper.figures import figure_1

found = figure_1.measure(profile, tokens)

# %% [markdown]
# Words that rate are orange. Row (c) is painted as ToMe hands it on: every merged token in one
# colour. It is the same three times, whatever is asked; what each method answers is in the table
# below.

# %%
figure = figure_1.draw(found)
name = "figure_1" if tokens == 64 else f"figure_1_{tokens}"
files = save_figure(figure, name, profile, data=figure_1.summary(found))

# %% [markdown]
# *Focus* is the share of the tokens left after the last cut that is about what is asked for; a
# merged token counts by the share of its patches that show it.

# %%
figure_1.table(found)

# %% [markdown]
# Panel (d) in numbers: percent, mean and 95 % bootstrap interval, over questions that nobody chose
# and that name something in their picture. Chance is the area of that something.

# %%
figure_1.summary(found)

# %% [markdown]
# **What this does not show.** That focus buys accuracy: `table_1` measures it, and there a
# text-agnostic grid is a strong control on these scenes. The three questions were picked because
# SparseVLM answers all three right; `figure_3` and `figure_11` hold some that do not.
