"""Where the records of a profile come from, table by table; read once, when a claim asks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sparsevlm.analysis.study import Results
from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.evaluation.paths import FIGURES, relative
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.paper.extras import controls, variants
from sparsevlm.paper.figures import figure_4, figure_5, figure_8, figure_9, figure_10
from sparsevlm.paper.tables import table_1, table_1_v1, table_2, table_3, table_4


class NotRunError(RuntimeError):
    """The records that a claim needs are not there; the message says which."""


class NotJudgedError(NotRunError):
    """The paper's number is a judge's, and the answers are not judged."""


@dataclass
class ProfileRecords:
    """The records of one profile, read once and only when a claim asks for them.

    Attributes
    ----------
    profile : str
        Its name.
    measures : mapping of str to callable
        By table: profile name -> results. See `MEASURES`.
    note : str
        Which benchmarks, of those that the last claim asked for, are there in part only.
    """

    profile: str
    measures: Mapping[str, Callable[[str], object]] = field(repr=False)
    note: str = ""
    _cache: dict = field(default_factory=dict, repr=False)

    def results(self, table: str) -> object:
        """Return the results of a table, or raise `NotRunError` saying why there are none."""
        if table not in self._cache:
            try:
                self._cache[table] = self.measures[table](self.profile)
            except (FileNotFoundError, NotImplementedError) as error:
                self._cache[table] = NotRunError(str(error))
            except (CheckpointError, DataError):
                # Their sentences name folders of this machine, which a committed page must not.
                self._cache[table] = NotRunError(
                    f"no checkpoints or data of {self.profile} here; see docs/a100.md"
                )
        found = self._cache[table]
        if isinstance(found, NotRunError):
            raise found
        return found

    @property
    def missing(self) -> str:
        """Why results could not be read; "" where all that was asked for is there."""
        lacking = {name: one for name, one in self._cache.items() if isinstance(one, NotRunError)}
        if len(reasons := list(dict.fromkeys(map(str, lacking.values())))) < 2:
            return "".join(reasons)
        return f"results of {', '.join(lacking)} are not whole; of the first: {reasons[0]}"

    @property
    def judges(self) -> str:
        """Who judged the open answers of the results that were read; "" for nobody."""
        results = [one for one in self._cache.values() if isinstance(one, Results)]
        judged = {str(one.judging) for one in results if one.judging.used}
        return " ".join(sorted(judged))


Rows = list[dict[str, str]]


def drawn(name: str) -> Callable[[str], Rows]:
    """Return what reads the data of a figure of a profile, as rows of text."""

    def read(profile: str) -> Rows:
        get_profile(profile).require_runnable()
        path = FIGURES / profile / f"{name}.data.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            raise FileNotFoundError(f"{relative(path)} is not there") from None

    return read


MEASURES: dict[str, Callable[[str], object]] = {
    **{
        module.REPORT.name: partial(module.REPORT.measure, run_missing=False)
        for module in (
            table_1, table_1_v1, table_2, table_3, table_4, figure_4, figure_5, figure_8, figure_9,
            figure_10, variants, controls,
        )
    },
    "figure_1": drawn("figure_1"),
    "figure_7": drawn("figure_7"),
}  # fmt: skip
