"""How often the 95% intervals of macro F1 and MCC hold the true value, by simulation.

    python benchmarks/intervals.py --tries 50

Texts are drawn from classifiers that are known: all labels equally hard, a third of them much harder, or each with its
own accuracy, and errors that go to any label or mostly to a few. Tests have as many texts of each label, texts of
labels that are equally frequent, or of labels that are not. 36 settings of each row are drawn as often.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import click
import common
import numpy as np
from numpy.typing import NDArray

from pet.statistics import metric_intervals

Array = NDArray[Any]
ACCURACIES, HARDNESS, TESTS = (0.5, 0.7, 0.85, 0.95), ("even", "some", "each"), ("same", "even", "uneven")
LABELS, TEXTS = (2, 4, 10, 20), (2, 5, 10, 20, 50)
INTRO = """# How often intervals hold the true value

Produced by `python benchmarks/intervals.py`. Nominal: 95%. The lowest is that of 36 settings (accuracy from .5 to .95,
how hard labels are, how a test is drawn), each of {tries} draws, so it is lower by chance, too. Width in points.

"""


def classifier(labels: int, accuracy: float, hardness: str, generator: np.random.Generator) -> Array:
    """Return the probability of each answer for a text of each label: shape (L, L)."""
    right = np.full(labels, accuracy)
    if hardness == "some":
        hard = max(1, labels // 3)
        right[hard:] = min(0.98, accuracy + 0.08)
        right[:hard] = np.clip((accuracy * labels - right[hard:].sum()) / hard, 0.05, 0.98)
    elif hardness == "each":
        right = generator.beta(8 * accuracy, 8 * (1 - accuracy), size=labels)
    errors = np.ones((labels, labels)) if hardness == "even" else generator.gamma(0.5, size=(labels, labels)) + 1e-3
    np.fill_diagonal(errors, 0)
    found = errors * ((1 - right) / errors.sum(axis=1))[:, None]
    np.fill_diagonal(found, right)
    return np.asarray(found)


def figures(confusion: Array) -> tuple[float, float]:
    """Return macro F1 and MCC of a matrix of shares."""
    gold, said, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    spread = np.sqrt((1 - (gold**2).sum()) * (1 - (said**2).sum()))
    return float((2 * right / (gold + said)).mean()), float((right.sum() - gold @ said) / spread)


def trials(labels: int, texts: int, tries: int, seed: int) -> Iterator[tuple[str, Array, dict[str, list[float]]]]:
    """Yield the setting, the true figures, and the intervals from one test."""
    for setting in product(ACCURACIES, HARDNESS, TESTS):
        accuracy, hardness, test = setting
        generator = np.random.default_rng([seed, labels, texts, *("".join(map(str, setting)).encode())])
        for _ in range(tries):
            answers = classifier(labels, accuracy, hardness, generator)
            shares = generator.dirichlet(np.full(labels, 2.0)) if test == "uneven" else np.full(labels, 1 / labels)
            truth = answers * shares[:, None]
            if test == "same":
                counts = np.stack([generator.multinomial(texts, own) for own in answers])
            else:
                counts = generator.multinomial(texts * labels, truth.ravel()).reshape(labels, labels)
            yield "-".join(map(str, setting)), np.array(figures(truth)), metric_intervals(counts)


def coverage(labels: int, texts: int, tries: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Return for macro F1 and MCC how many intervals hold the true value, how many at least, and their mean width."""
    held: dict[str, list[Array]] = {}
    widths = []
    for setting, truth, found in trials(labels, texts, tries, seed):
        ends = np.array([found["macro_f1_interval"], found["mcc_interval"]])
        held.setdefault(setting, []).append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
        widths.append(ends[:, 1] - ends[:, 0])
    shares = np.array([np.mean(own, axis=0) for own in held.values()])
    return shares.mean(axis=0), shares.min(axis=0), np.mean(widths, axis=0)


@click.command()
@click.option("--tries", default=50, show_default=True, help="Tests of each setting.")
@common.output_option(common.HERE / "results" / "intervals.md")
def main(tries: int, output: Any) -> None:
    """Count how often intervals hold the true value, and write the table."""
    rows: list[list[object]] = []
    for labels, texts in product(LABELS, TEXTS):
        share, lowest, width = coverage(labels, texts, tries)
        rows.append([labels, texts])
        for k in range(2):
            rows[-1] += [f"{100 * share[k]:.1f}", f"{100 * lowest[k]:.0f}", f"{100 * width[k]:.0f}"]
    head = ["labels", "texts of each", "macro F1: % held", "lowest", "width", "MCC: % held", "lowest", "width"]
    table = common.markdown(head, rows)
    output.write_text(INTRO.format(tries=tries) + table, encoding="utf-8")
    click.echo(table)


if __name__ == "__main__":
    main()
