"""What the repository shows, taken from a finished run of the profile "mini": for maintainers.

A run writes to `figures/mini/`, `artifacts/` and `results/`, which git ignores. `sparsevlm publish`
copies figures and tables to `figures/` and writes CLAIMS.md and data/answers.jsonl.xz.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from sparsevlm.cli.suite import Plan
from sparsevlm.evaluation.paths import FIGURES, ROOT, relative
from sparsevlm.evaluation.results.shipped import SHIPPED, write_answers
from sparsevlm.models.atomic import write_text
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims.collect import collect
from sparsevlm.paper.claims.file import PUBLISHED


def publish(plan: Plan, say: Callable[[str], object] = print) -> None:
    """Replace the figures, claims and answers that the repository shows by those of profile "mini".

    Raises
    ------
    RuntimeError
        Something of the profile is not done, so that nothing was changed.
    """
    if due := [one.name for one in plan.notebooks if not one.is_done()]:
        raise RuntimeError(
            f"{len(due)} of {len(plan.notebooks)} notebooks of profile 'mini' are not done (the "
            f"first: {due[0]}); run `sparsevlm reproduce` before they are published"
        )
    stamps = [one.output(".stamp.json").read_text(encoding="utf-8") for one in plan.notebooks]
    written = [ROOT / path for stamp in stamps for path in json.loads(stamp)["outputs"]]
    own = FIGURES / plan.profile.slug
    shown = {FIGURES / path.name: path for path in written if path.parent == own}
    for old in FIGURES.iterdir():
        if old.is_file() and old not in shown:
            old.unlink()
    for target, source in shown.items():
        shutil.copyfile(source, target)
    write_text(PUBLISHED, claims_page.page(collect()))
    write_answers(map(plan.store.load, plan.runs), SHIPPED)
    say(f"figures/: {len(shown)} files; CLAIMS.md; {relative(SHIPPED)}: {len(plan.runs)} runs")
