"""A finished run in Python: its figures, its labels, and the texts that are worth a look, as data frames."""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pet.data.pick import pick_rows
from pet.ensemble.combine import ABSTAINS
from pet.report.estimate import estimate_lines
from pet.resources import expand
from pet.review.finished import FinishedRun, open_finished
from pet.review.suggest import columns_beside, suggest
from pet.run.results import headline_metrics, read_results

if TYPE_CHECKING:
    from pandas import DataFrame

_SHARES = ("labeled", "predicted", "estimated", "low", "high")
_HEADLINES = ("accuracy", "macro_f1", "mcc", "ece")


class RunResult:
    """A finished run: its figures, its labels, and texts that are worth a look.

    Parameters
    ----------
    folder : run directory

    Attributes
    ----------
    folder : run directory
    figures : the content of metrics.json

    Raises
    ------
    PetError
        If the folder is no finished run.

    Examples
    --------
    >>> result = RunResult("runs/reviews")
    >>> result.labels().columns[:4].tolist()
    ['id', 'text', 'label', 'confidence']
    >>> len(result.texts(doubtful=3))
    3
    """

    def __init__(self, folder: str | Path):
        self.folder = expand(folder)
        self.figures = read_results(self.folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    @cached_property
    def _run(self) -> FinishedRun:
        return open_finished(self.folder)

    def table(self) -> DataFrame:
        """Return the headline figures on the test texts, baselines first; empty without test texts."""
        import pandas as pd

        rows = {name: [own.get(key) for key in _HEADLINES] for name, own in headline_metrics(self.figures).items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(_HEADLINES))

    def labels(self) -> DataFrame:
        """Return the unlabeled texts with their merged labels.

        Returns
        -------
        DataFrame with ``id``, the task's fields, ``label`` (a list of labels if a text may have several),
        ``confidence`` (its probability, or that of the least certain decision), ``agreement`` (share of members with
        this label), and ``p(LABEL)`` for each label. A column that has the name of a field begins with ``pet_``
        """
        run = self._run
        soft, table = run.pool, run.texts("pool")
        frame = pick_rows(table, range(len(table))).to_pandas()[["id", *run.task.fields]]
        names = np.asarray([str(label) for label in run.task.labels], dtype=object)
        frame["label"] = [list(names[own]) for own in soft.applies] if run.task.multi_label else names[soft.label]
        columns = columns_beside(run.task.fields, ["confidence", "agreement"])
        frame[columns["confidence"]], frame[columns["agreement"]] = soft.confidence, soft.agreement
        shares = {f"p({label})": soft.probabilities[:, number] for number, label in enumerate(run.task.labels)}
        return frame.assign(**shares)

    def shares(self) -> DataFrame:
        """Return the share of each label in the texts.

        Returns
        -------
        DataFrame with one row for each label, and those of these columns that the run knows: ``labeled`` (share of the
        labeled texts), ``predicted`` (of the unlabeled texts), and ``estimated``, ``low`` and ``high``: the predictions
        corrected by how often members are wrong about labeled texts that they left out, with its 95% interval. If a
        text may have several labels, shares do not add up to 1.
        """
        import pandas as pd

        known = self.figures.get("class_ratio") or {}
        return pd.DataFrame({name: known[name] for name in _SHARES if name in known}).rename_axis("label")

    def members(self) -> DataFrame:
        """Return the members of the ensemble that labeled the unlabeled texts.

        Returns
        -------
        DataFrame indexed by name: ``weight`` (together 1), ``labeled`` (share of the unlabeled texts that the member
        has a label for; the others abstain), ``agreement`` (share of these on which it has the merged label), and
        ``accuracy`` on the test texts, if there are any
        """
        import pandas as pd

        run = self._run
        ensemble, votes, merged = run.ensemble, run.pool.votes, run.pool.label[:, None]
        labeled = votes != ABSTAINS
        agreement = (labeled & (votes == merged)).sum(axis=0) / np.maximum(labeled.sum(axis=0), 1)
        figures = self.figures.get("members") or {}
        columns = {
            "weight": ensemble.weights / ensemble.weights.sum(),
            "labeled": labeled.mean(axis=0),
            "agreement": agreement,
        }
        if figures:
            columns["accuracy"] = np.array([figures.get(name, {}).get("accuracy", np.nan) for name in ensemble.names])
        return pd.DataFrame(columns, index=list(ensemble.names))

    def texts(self, doubtful: int = 20) -> DataFrame:
        """Return unlabeled texts to label next, the most doubtful first; see `pet.review.suggest.suggest`.

        Returns
        -------
        DataFrame with ``id``, the task's fields, ``proposed``, ``probability``, ``doubt``, and ``nearest_label`` and
        ``nearest_text`` of the most similar labeled text. A column that has the name of a field begins with ``pet_``
        """
        import pandas as pd

        return pd.DataFrame([suggestion.row() for suggestion in suggest(self._run, doubtful)])

    def report(self) -> Path:
        """Return the path of the report, a page for a browser."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """Show the headline figures in a notebook."""
        shown = self.table()
        what = escape(f"{self.figures.get('task', '')}, {self.figures.get('method', '')}, {self.folder}")
        figures = shown.to_html(escape=True, border=0, na_rep="", float_format="{:.3f}".format) if len(shown) else ""
        lines = [] if len(shown) else estimate_lines(self.figures.get("estimate"))
        return f"<p>{what}</p>{figures}" + "".join(f"<p>{escape(line)}</p>" for line in lines)
