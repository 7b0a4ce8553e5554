"""A task of lmms-eval that reads its data from a local folder in place of the hub.

Run as ``sparsevlm lmms-task pope FOLDER --out TASKS``; then
``lmms-eval --tasks pope_local --include_path TASKS`` asks and scores as lmms-eval's own task does:
the file only includes that one and names other data.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.benchmarks.loaders.parquet_table import files_of

SPLITS = ("test_split", "validation_split")


def write_task(
    task: str,
    folder: Path,
    out: Path,
    *,
    instruction: str | None = None,
    tasks: Path | None = None,
) -> Path:
    """Write the file of a task and return its path; its name is that of the task and "_local".

    Parameters
    ----------
    task : str
        Name in lmms-eval, such as "pope".
    folder : Path
        The data set as it is on the hub: parquet files in data/ or in a folder per configuration.
    out : Path
        Folder for the file, given to lmms-eval as ``--include_path``.
    instruction : str or None
        In place of what the task puts behind every question; None leaves that.
    tasks : Path or None
        Where lmms-eval's tasks are; by default those of the installed package.

    Raises
    ------
    DataError
        lmms-eval is not installed, has no such task, or one that is no single data set (GQA's
        images are fetched by the task's code); or the folder has no files of its split.
    """
    path = find_task(task, tasks or installed_tasks())
    theirs = settings_of(path)
    split = next((theirs[key] for key in SPLITS if key in theirs), None)
    if split is None or "dataset_path" not in theirs:
        raise DataError(f"{path} names no data set and split; take a single task, not a group")
    config = theirs.get("dataset_name", "default")
    files = files_of(Path(folder), config, split.strip())
    if not files:
        raise DataError(
            f"no {split}-*.parquet in {folder}, its data/ or its {config}/; it must be a copy of "
            f"{theirs['dataset_path']}"
        )
    lines = [
        f"include: {json.dumps(str(path))}",
        f"task: {task}_local",
        "dataset_path: parquet",
        "dataset_name: null",
        "dataset_kwargs:",
        f"  data_files: {json.dumps({split: [str(file.resolve()) for file in files]})}",
    ]
    if instruction is not None:
        asked = {"default": {"pre_prompt": "", "post_prompt": instruction}}
        lines.append(f"lmms_eval_specific_kwargs: {json.dumps(asked)}")
    out.mkdir(parents=True, exist_ok=True)
    written = out / f"{task}_local.yaml"
    written.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return written


def installed_tasks() -> Path:
    """Return the folder of lmms-eval's own tasks.

    Raises
    ------
    DataError
        lmms-eval is not installed.
    """
    found = find_spec("lmms_eval")
    if found is None:
        raise DataError("lmms-eval is not installed: pip install 'sparsevlm-repro[lmms-eval]'")
    return Path(found.submodule_search_locations[0]) / "tasks"


def find_task(task: str, tasks: Path) -> Path:
    """Return the file of a task.

    Raises
    ------
    DataError
        There is none.
    """
    for path in sorted(tasks.rglob("*.yaml")):
        # Of thousands of files few have the name in them, and reading YAML is slow.
        if task in path.read_text(encoding="utf-8") and settings_of(path).get("task") == task:
            return path
    raise DataError(f"lmms-eval has no task {task!r} in {tasks}; `lmms-eval tasks list` shows all")


def settings_of(path: Path) -> dict:
    """Return what a task's file says, that of the files which it includes too.

    Functions that it names are not looked up.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    own = yaml.load(path.read_text(encoding="utf-8"), Loader)
    if not isinstance(own, dict):
        return {}
    included = own.pop("include", None) or []
    found: dict = {}
    for name in reversed([included] if isinstance(included, str) else included):
        found |= settings_of(path.parent / name)
    return found | own
