"""The whole a100 profile on a processor: tiny checkpoints and drawn data in the real layouts.

`python -m rehearsal` (`make rehearse`) copies the repository, writes checkpoints and data beside
the copy, and gives the commands of docs/a100.md there. Nothing of the suite is replaced: what a
user sets (SPARSEVLM_CHECKPOINTS, SPARSEVLM_DATA, SPARSEVLM_DEVICE) is all that is set.
"""
