"""Overlap of a training corpus with a test set: shared word sequences, and tf-idf similarity.

python benchmarks/overlap.py
python benchmarks/overlap.py --text corpus/news.txt --test data/news/test.jsonl
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from common import HERE, SHARED
from sklearn.feature_extraction.text import TfidfVectorizer

from pet.data.documents import read_documents
from pet.data.overlap import drop_overlapping

SHARES = (50, 90, 99)


@click.command()
@click.option(
    "--text",
    default=str(HERE.parent / "corpus" / "news.txt"),
    show_default="corpus/news.txt",
    help="Corpus: one document per line.",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    default=SHARED / "data" / "agnews" / "test.jsonl",
    show_default="../shared/data/agnews/test.jsonl",
    help="Test set with the fields headline and body.",
)
@click.option("--words", default=8, show_default=True, help="Shared words in a row that count as overlap.")
def main(text: str, test: Path, words: int) -> None:
    """Print the overlap and the similarity."""
    documents = read_documents([text])
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    tests = [f"{row['headline']} {row['body']}" for row in rows]
    click.echo(f"{len(documents)} documents, {sum(len(d.split()) for d in documents)} words; {len(tests)} test texts")
    click.echo(f"documents that share {words} words in a row: {drop_overlapping(documents, tests, words)[1]}")
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, stop_words="english").fit(tests + documents)
    ours, theirs = vectors.transform(documents), vectors.transform(tests)
    nearest = (ours @ theirs.T).max(axis=1).toarray().ravel()
    click.echo(f"cosine similarity to the nearest test text: {_shares(nearest)}, maximum {nearest.max():.3f}")
    among = (theirs @ theirs.T).tolil()
    among.setdiag(0)
    click.echo(f"cosine similarity among test texts: {_shares(among.tocsr().max(axis=1).toarray().ravel())}")


def _shares(values: np.ndarray) -> str:
    """Format percentiles."""
    return ", ".join(
        f"{x:.2f} ({share}th percentile)" for share, x in zip(SHARES, np.percentile(values, SHARES), strict=True)
    )


if __name__ == "__main__":
    main()
