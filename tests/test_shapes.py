"""The shapes in the signatures are checked on every call while the tests run."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from sparsevlm.core.raters import text_relevance
from sparsevlm.core.recycling import squared_distance
from sparsevlm.core.scoring import mean_over_heads, priority_heads, score
from sparsevlm.core.sparsity import numerical_rank


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (text_relevance, (torch.rand(5, 8), torch.rand(3, 7))),  # hidden sizes differ
        (text_relevance, (torch.rand(5, 8), torch.ones(3, 8, dtype=torch.int64))),
        (mean_over_heads, (torch.rand(4, 5),)),
        (score, (torch.rand(4, 3, 5), torch.ones(4, 2, dtype=torch.bool))),
        (priority_heads, (torch.rand(4, 5), 2)),
        (numerical_rank, (torch.rand(2, 3, 5),)),
        (squared_distance, (torch.rand(5),)),
    ],
)
def test_a_wrong_shape_is_noticed(function, arguments):
    with pytest.raises(TypeCheckError):
        function(*arguments)
