"""The paper's checkpoints: which they are, fetching them, checking them, loading them.

Read next: declared.py (the table), places.py (where files lie), then fetch.py or loading.py.
Nothing here is imported before it is needed: the table can be read without torch.
"""

from __future__ import annotations

from sparsevlm.models.checkpoints.declared import CHECKPOINTS as CHECKPOINTS
from sparsevlm.models.checkpoints.declared import Checkpoint as Checkpoint
from sparsevlm.models.checkpoints.declared import Repository as Repository
from sparsevlm.models.checkpoints.declared import find as find
