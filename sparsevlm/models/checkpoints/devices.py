"""Which GPU a worker process takes."""

from __future__ import annotations


def gpu_of(worker: str, count: int) -> str:
    """Return the device of a worker process: several workers go round all GPUs.

    Parameters
    ----------
    worker : str
        Name of the process; multiprocessing numbers the workers of a command: "SpawnProcess-3".
    count : int
        GPUs that torch sees.

    Returns
    -------
    str
        "cuda:N", or "cuda" where there is no choice, or no worker.
    """
    number = worker.rpartition("-")[2]
    return f"cuda:{(int(number) - 1) % count}" if count > 1 and number.isdigit() else "cuda"
