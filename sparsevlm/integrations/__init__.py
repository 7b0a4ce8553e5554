"""Pruned models in lmms-eval, the harness of others: an outside check of what this suite measures.

lmms-eval finds `manifest` by the entry point that comes with this package. Nothing here is used by
the tables of this suite, and only `lmms_model` imports lmms-eval (the extra of that name).
"""
