from __future__ import annotations

import pytest

LOST = "ignore:positions=.renumbered. gives the visual tokens:UserWarning"


def pytest_collection_modifyitems(items):
    # `runs()` has a case with renumbered positions on purpose; the warning has its own test.
    for item in items:
        if "renumbered" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings(LOST))
