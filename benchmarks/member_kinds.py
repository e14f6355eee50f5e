"""What members that are not patterns add to an ensemble: a classifier head, and scores made elsewhere.

    python benchmarks/member_kinds.py agnews:32 --seeds 3

The scores from elsewhere are those of logistic regression on TF-IDF features, trained by scikit-learn on the same
labeled examples and given to the run as a CSV file (``--member tfidf=external:FILE``). Each run trains all members
once; its ensemble is then merged with and without the head and the file, with the weights that the run gives them. The
table has the accuracy on test texts of each kind alone and of each ensemble, and the paired difference from the
patterns alone with a 95% interval: a bootstrap over texts and seeds.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import as_text, codes, draw_files, gold_of, grouped_hits, paired

if TYPE_CHECKING:
    from pet.task.task import Task

ENSEMBLES = {
    "patterns": lambda kind: kind == "pattern",
    "patterns + head": lambda kind: kind in ("pattern", "head"),
    "patterns + file": lambda kind: kind in ("pattern", "external"),
    "all": lambda kind: True,
}
INTRO = """# Members of other kinds

Produced by `python benchmarks/member_kinds.py`. Accuracy in percent, mean and standard deviation over seeds. "file" is
logistic regression on TF-IDF features of the same examples. The difference is that from the patterns alone, on the same
texts, with its 95% interval (bootstrap over texts and seeds).

"""


def tfidf_scores(folder: Path, data: Path, task: Task, wanted: dict[str, Any], rows: int) -> Path:
    """Draw the examples, train logistic regression on them, and write its probabilities of all texts.

    The probabilities of the training texts are out of fold, so that they say how good it is.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    parts = draw_files(folder, data, task, wanted, rows)
    texts = {part: [" ".join(str(row[f]) for f in task.fields) for row in table] for part, table in parts.items()}
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    labels = codes(parts["train"], task)
    folds = StratifiedKFold(min(4, int(np.bincount(labels).min())), shuffle=True, random_state=wanted["seed"])
    chances = {"train": cross_val_predict(model, texts["train"], labels, cv=folds, method="predict_proba")}
    model.fit(texts["train"], labels)
    for part in ("unlabeled", "test"):
        chances[part] = model.predict_proba(texts[part])
    file = folder / "tfidf.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *task.labels])
        for part, table in parts.items():
            writer.writerows(
                [row["id"], *probabilities] for row, probabilities in zip(table, chances[part], strict=True)
            )
    return file


def one_run(wanted: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Train all members once; which test texts each kind and each ensemble gets right."""
    from pet.ensemble.combine import Ensemble
    from pet.store.manifest import read_stages
    from pet.task.task import Task

    name, shared = wanted["task"], options["shared"]
    with tempfile.TemporaryDirectory(prefix="pet-kinds-") as place:
        folder = Path(place)
        task = Task.load(name)
        file = tfidf_scores(folder, shared / "data" / name, task, wanted, options["test_rows"])
        settings = {
            "task": task.to_dict(),
            "model": str(shared / "models" / options["model"]),
            "pool_size": options["pool_size"],
            "seed": wanted["seed"],
            "settings": options["settings"],
            "members": ("head", f"tfidf=external:{file}"),
        }
        (folder / "work").mkdir()
        results, seconds = common.run_in(folder / "work", folder, options["test_rows"], settings)
        run = folder / "work" / "run"
        stages = read_stages(run)
        merged = Ensemble.from_dict(stages["g0/labels"]["info"], len(results["student"]["per_class"]))
        kinds = {name: stages[f"g0/{name}"]["info"]["kind"] for name in merged.names}
        scores = {name: np.load(run / "g0" / name / "test-logits.npy") for name in merged.names}
        gold = gold_of(folder / "test.jsonl", task)
    right = {}
    for kind in ("head", "external"):
        (member,) = (name for name, other in kinds.items() if other == kind)
        right[kind] = scores[member].argmax(axis=1) == gold
    for ensemble, belongs in ENSEMBLES.items():
        names = [name for name in merged.names if belongs(kinds[name])]
        right[ensemble] = merged.only(names).combine([scores[name] for name in names]).label == gold
    return {
        **wanted,
        "seconds": round(seconds),
        "weights": dict(zip(merged.names, merged.weights.round(4).tolist(), strict=True)),
        "student": results["student"]["accuracy"],
        "right": {what: as_text(hits) for what, hits in right.items()},
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format one table per task and number of examples as Markdown."""
    rows = []
    for (name, examples), (runs, hits) in grouped_hits(lines).items():
        for what, found in hits.items():
            mean, low, high = paired(found, hits["patterns"])
            shown = "file" if what == "external" else what
            difference = "" if what == "patterns" else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
            accuracy = common.spread(found.mean(axis=1).tolist())
            rows.append([name, examples, shown, accuracy, difference, len(runs), found.shape[1]])
    return common.markdown(["task", "examples", "members", "accuracy", "difference", "seeds", "texts"], rows)


@click.command()
@common.run_options("member_kinds")
@common.shared_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Name of a model in ../shared/models.")
@click.option("--pool-size", default=500, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the table."""
    options["settings"] = common.setting_pairs(changes)
    same = {"settings": options["settings"], "model": options["model"], "pool_size": options["pool_size"]}
    runs = [run | same for run in common.wanted_runs(wanted, seeds)]
    done = common.make_missing(output, runs, lambda run: one_run(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
