"""One adapter per family of models; importing this package registers them all."""

from __future__ import annotations

from sparsevlm.families import llava as llava
