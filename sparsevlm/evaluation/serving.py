"""A worker process: takes runs from a queue and runs them, until there are none or it must end."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from multiprocessing import parent_process

from sparsevlm.evaluation.results.failures import OpenSamplesError, RunBusyError, RunError
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.sources import Source
from sparsevlm.evaluation.workers import execute_run


def serve(source: Source, store: Store, tasks, messages) -> None:
    """Run runs from `tasks` until it gives None; the body of a worker process.

    Parameters
    ----------
    source : Source
        Supplies models and questions.
    store : Store
        Takes the results.
    tasks : queue of Cell or None
        What to run.
    messages : queue of (str, object)
        Gets ("samples", number just done), ("done", run), ("busy", run), ("open", runs with
        their failures), and, before an early end, ("stopped", sentence for the user) or ("failed",
        traceback).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _one_thread()
        while (run := tasks.get()) is not None:
            try:
                execute_run(run, store, source, lambda n: messages.put(("samples", n)))
                messages.put(("done", run))
            except RunBusyError:
                messages.put(("busy", run))
            except OpenSamplesError as error:
                messages.put(("open", error.runs))
    except (RunError, OSError) as error:
        messages.put(("stopped", str(error)))
    except Exception:
        messages.put(("failed", traceback.format_exc()))


def _end_with_parent() -> None:
    """Leave when the parent is gone: one that was killed cannot stop us, and we hold locks."""
    parent_process().join()
    os._exit(1)


def _one_thread() -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()  # the parent shows one
