"""Profiles, cells and their store, tables, figures, and the strict notebook runner.

Nothing is imported here: `python -m sparsevlm reproduce` has to say "all done" without loading
torch, matplotlib or papermill.
"""
