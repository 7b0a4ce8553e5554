"""Pruned models in lmms-eval.

lmms-eval finds `manifest` by the entry point of this package (pyproject.toml). Nothing here is used
by the tables of this suite, and only `lmms_model` imports lmms-eval (the extra of that name).
"""

from __future__ import annotations

MODEL = "sparsevlm"  # as `--model` takes it


def manifest():
    """Return the name of the model, and where its class is; the class is not imported.

    Returns
    -------
    lmms_eval.models.registry_v2.ModelManifest
        Of the "simple" kind: text of the task as it is, pictures beside it.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id=MODEL, simple_class_path="sparsevlm.integrations.lmms_model.PrunedModel"
    )
