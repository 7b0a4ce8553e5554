"""One run alone, in this process."""

from __future__ import annotations

from sparsevlm.evaluation.workers import execute_together


def execute_run(run, store, backend, report):
    """Answer what is still open of a run, and finish it; what keeps it from that is raised."""
    for error in execute_together([run], store, backend, report).values():
        raise error
    return store.load(run)
