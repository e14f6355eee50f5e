"""Overlap of the training texts in corpus/ with test sets: shared word sequences, and TF-IDF similarity.

    python benchmarks/overlap.py
    python benchmarks/overlap.py --text corpus/news.txt --test data/news/test.jsonl --show 5
    python benchmarks/overlap.py --text drafts.txt --keep corpus/law.txt

`--keep` writes the documents of one file that are far enough from all test texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import HERE, SHARED
from sklearn.feature_extraction.text import TfidfVectorizer

from pet.data.documents import read_documents
from pet.data.overlap import word_ngrams
from pet.report.tables import text_table

ROOT = HERE.parent
FIELDS = ("headline", "body", "premise", "hypothesis", "text")  # fields of the test sets that hold text
OURS = [ROOT / "data" / name / "test.jsonl" for name in ("news", "tickets")]
OTHERS = [SHARED / "data" / name / "test.jsonl" for name in ("agnews", "yelp", "sst2", "mnli", "clinc")]


@dataclass(frozen=True)
class Overlap:
    """Overlap of documents with a test set.

    Attributes
    ----------
    shared : bool array of shape (documents,): documents that share a run of words with a test text
    nearest : array of shape (documents,): cosine to the most similar test text
    which : int array of shape (documents,): the most similar test text
    among : array of shape (tests,): cosine of each test text to the most similar other one
    tests : the test texts
    """

    shared: np.ndarray
    nearest: np.ndarray
    which: np.ndarray
    among: np.ndarray
    tests: list[str]


def read_tests(path: Path) -> list[str]:
    """Return the texts of a test set, without labels."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [" ".join(row[field] for field in FIELDS if field in row) for row in rows]


def compare(documents: list[str], tests: list[str], words: int) -> Overlap:
    """Compare documents with the texts of a test set."""
    forbidden: set[int] = set()
    for text in tests:
        forbidden |= word_ngrams(text, words)
    shared = np.array([not forbidden.isdisjoint(word_ngrams(text, words)) for text in documents])
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, stop_words="english").fit(tests + documents)
    ours, theirs = vectors.transform(documents), vectors.transform(tests)
    near = (ours @ theirs.T).tocsr()
    among = (theirs @ theirs.T).tolil()
    among.setdiag(0)
    nearest, which = near.max(axis=1).toarray().ravel(), np.asarray(near.argmax(axis=1)).ravel()
    return Overlap(shared, nearest, which, among.tocsr().max(axis=1).toarray().ravel(), tests)


def row_of(name: str, test: Path, found: Overlap, limit: float) -> dict[str, Any]:
    """Return a line of the table."""
    row: dict[str, Any] = {"corpus": name, "test set": test.parent.name, "documents": len(found.nearest)}
    row |= {"shared": int(found.shared.sum()), f"above {limit:g}": int((found.nearest > limit).sum())}
    row |= {f"p{share}": f"{np.percentile(found.nearest, share):.2f}" for share in (50, 99)}
    row["max"] = f"{found.nearest.max():.2f}"
    return row | {f"test p{share}": f"{np.percentile(found.among, share):.2f}" for share in (50, 90)}


def show_pairs(documents: list[str], found: Overlap, count: int) -> None:
    """Print the most similar pairs of a document and a test text."""
    for i in np.argsort(-found.nearest)[:count]:
        click.echo(f"{found.nearest[i]:.3f}  {documents[i]}\n       {found.tests[found.which[i]]}\n")


@click.command()
@click.option(
    "--text",
    "texts",
    multiple=True,
    type=click.Path(path_type=Path),
    show_default="corpus/*.txt but words.txt",
    help="Texts, one a line. Repeatable.",
)
@click.option("--test", "tests", multiple=True, type=click.Path(path_type=Path), help="Test sets.  [default: seven]")
@click.option("--words", default=8, show_default=True, help="Shared words in a row that count as overlap.")
@click.option("--limit", default=0.4, show_default=True, help="Cosine above which a pair is too similar.")
@click.option("--show", default=0, help="Print the N most similar pairs of each file and test set.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the documents without overlap to this file.")
def main(texts: tuple[Path, ...], tests: tuple[Path, ...], words: int, limit: float, show: int, keep: Path) -> None:
    """Print the overlap of each text file with each test set."""
    sources = list(texts) or sorted(p for p in (ROOT / "corpus").glob("*.txt") if p.stem != "words")
    if keep is not None and len(sources) != 1:
        raise click.UsageError("--keep needs one --text")
    rows: list[dict[str, Any]] = []
    for source in sources:
        documents = read_documents([str(source)])
        fine = np.ones(len(documents), dtype=bool)
        for test in tests or [*OURS, *OTHERS]:
            found = compare(documents, read_tests(test), words)
            fine &= ~found.shared & (found.nearest <= limit)
            rows.append(row_of(source.stem, test, found, limit))
            show_pairs(documents, found, show)
        if keep is not None:
            kept = [document for document, is_fine in zip(documents, fine, strict=True) if is_fine]
            keep.write_text("\n".join(kept) + "\n", encoding="utf-8")
            click.echo(f"{keep}: {len(kept)} of {len(documents)} documents\n")
    click.echo(text_table([list(row.values()) for row in rows], list(rows[0])))


if __name__ == "__main__":
    main()
