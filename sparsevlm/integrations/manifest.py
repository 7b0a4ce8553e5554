"""What lmms-eval reads when it looks for models: the entry points of its group."""

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
