"""FastV, PyramidDrop, ToMe, newer methods, controls, and the registry."""

from __future__ import annotations

from sparsevlm.methods.own import ScorePruner as ScorePruner
from sparsevlm.methods.own import own_method as own_method
from sparsevlm.methods.registry import METHODS as METHODS
from sparsevlm.methods.registry import Method as Method
from sparsevlm.methods.registry import make_pruner as make_pruner
from sparsevlm.methods.registry import options_for as options_for
