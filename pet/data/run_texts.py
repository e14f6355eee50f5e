"""Which texts of its files a run uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pet.settings import out_of_range

# Options are checked before numpy is imported, so that a mistake is reported at once.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset
    from numpy.typing import NDArray

    Array = NDArray[Any]

MOST = 10**9  # texts
NO_TEXTS_LEFT = "unlabeled: every text is also in train; give other texts, or none"


@dataclass(frozen=True)
class RunDraw:
    """How many texts to draw, and how.

    Attributes
    ----------
    shots, examples : number of labeled texts, per label or in total; default: the whole file
    balanced : for `examples`: draw as evenly over the labels as possible; False: in the label ratio of the file
    pool_size : number of unlabeled texts; default: all
    labeled_seed, pool_seed : random seeds
    """

    shots: int | None = None
    examples: int | None = None
    balanced: bool = True
    pool_size: int | None = None
    labeled_seed: int = 0
    pool_seed: int = 0

    def mistakes(self) -> list[str]:
        """Return messages about options that are out of range or exclude each other."""
        both = "--shots (per label) and --examples (in total) cannot be combined; give one"
        found = [both] if self.shots is not None and self.examples is not None else []
        return found + out_of_range(self, {"shots": (0, MOST), "examples": (0, MOST), "pool_size": (1, MOST)})

    @property
    def nothing_labeled(self) -> bool:
        """True if no labeled texts are used at all."""
        return 0 in (self.shots, self.examples)

    def labeled(self, train: Dataset, names: Sequence[str]) -> Dataset:
        """Return the labeled texts that are drawn; the whole table if all are used.

        Parameters
        ----------
        train : with a column ``label``
        names : of the labels

        Raises
        ------
        PetError
            If there are too few texts.
        """
        if self.shots is None and self.examples is None:
            return train
        from pet.data.checks import column_labels
        from pet.data.pick import pick_rows
        from pet.data.sample import sample_shots
        from pet.seeds import derive_seed

        rows = sample_shots(
            column_labels(train),
            len(names),
            shots=self.shots,
            examples=self.examples,
            seed=derive_seed(self.labeled_seed, "sample"),
            balanced=self.balanced,
            names=names,
        )
        return pick_rows(train, rows)

    def pool(self, rows: Array) -> Array:
        """Return the rows of the pool that are drawn, in their order in the file.

        Parameters
        ----------
        rows : int64 array of shape (n,), ascending: rows that may be drawn

        Examples
        --------
        >>> import numpy as np
        >>> rows = np.arange(100)
        >>> len(RunDraw(pool_size=30).pool(rows)), RunDraw().pool(rows) is rows
        (30, True)
        """
        if self.pool_size is None or self.pool_size >= len(rows):
            return rows
        import numpy as np

        from pet.seeds import derive_seed

        generator = np.random.default_rng(derive_seed(self.pool_seed, "pool"))
        return rows[np.sort(generator.permutation(len(rows))[: self.pool_size])]
