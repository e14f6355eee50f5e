"""How often untrained patterns pass the test that decides whether members learn from texts that they label.

    python benchmarks/pattern_test.py agnews:10 agnews:32 sst2:10 sst2:32 mnli:32 tickets:18

Nothing is trained. The patterns score labeled texts once. Then labeled texts are drawn from these, and tested as a run
tests its own: with classifiers on embeddings and words, and with the agreement of the patterns on unlabeled texts
(`pet.members.pattern_labels`). The accuracies show whether patterns should pass: that of the patterns, and that of the
classifier on embeddings, which learns from the draw, on all other texts.

Reads the data sets and models in ../shared, which are not part of the project, and never test texts, except those of
the package's own samples.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import Size
from peers import model_of
from peers_methods import Setting, opened
from recipe_study import drawn

if TYPE_CHECKING:
    from pet.members.texts import Texts
    from pet.run.resolve import ResolvedRun

Line = dict[str, Any]
INTRO = """# The test of untrained patterns

Produced by `python benchmarks/pattern_test.py`. "Passed" is the percentage of draws in which the patterns pass, and
"open" the percentage in which the labels leave it open, so that agreement decides: the mean correlation of two patterns
on unlabeled texts. Accuracy in percent: of the untrained patterns, and of logistic regression on embeddings.

"""


def one_set(wanted: Line, options: dict[str, Any]) -> Line:
    """Draw labeled texts, and test the patterns on each draw."""
    from pet.members.pattern_labels import agreement

    name, setting = wanted["task"], {"max_length": "64"}
    with tempfile.TemporaryDirectory(prefix="pet-pattern-test-") as place:
        few = Size(0, options["pool_size"], options["test_rows"])
        draw = drawn(f"{name}:{wanted['examples']}:0", few, options["shared"], Path(place))
        model = model_of(name, options["model"], options["shared"])
        run, texts = opened(draw, Setting(model, setting, Path(place), (), 0, 1))
        scores, pool = (_scores(run, texts[part]) for part in ("test", "pool"))
        agreed = agreement(pool)
        size = wanted["examples"]
        found = [_one_draw(run, texts["test"], scores, agreed, (size, seed)) for seed in range(options["draws"])]
    means = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
    return {**wanted, "draws": len(found), "texts": len(draw.gold), "agreement": agreed, **means}


def _scores(run: ResolvedRun, texts: Texts) -> np.ndarray:
    """Return what each untrained pattern says about texts, shape (patterns, texts, labels)."""
    from pet.members import untrained
    from pet.members.kinds import make_scorer
    from pet.members.spec import pattern_spec

    task = run.shared.task
    scores = np.empty((len(task.patterns), len(texts), len(task.labels)), np.float32)
    for position, out in enumerate(scores):
        make_scorer(pattern_spec(untrained.KIND, position, 0), run.shared).scores(texts, out)
    return scores


def _one_draw(run: ResolvedRun, texts: Texts, scores: np.ndarray, agreed: float, which: tuple[int, int]) -> Line:
    """Draw so many labeled texts with a seed, and test the patterns on them."""
    from pet.data.pick import pick_rows
    from pet.data.sample import sample_shots
    from pet.embeddings.logistic import fit_logistic
    from pet.ensemble.combine import prior_correction
    from pet.members.pattern_labels import AGREEMENT, know_enough
    from pet.members.texts import Texts
    from pet.members.tfidf import own_features

    gold, labels, names = texts.labels, scores.shape[2], run.shared.task.labels
    asked = []

    def agree() -> bool:
        asked.append(True)
        return agreed >= AGREEMENT

    examples, seed = which
    rows = np.asarray(sample_shots(gold, labels, examples=examples, seed=seed, names=names))
    shares = np.bincount(gold[rows], minlength=labels) + 1
    offsets = [prior_correction(each[rows], shares / shares.sum()) for each in scores]
    merged = np.mean([each + offset for each, offset in zip(scores, offsets, strict=True)], axis=0)
    vectors = np.asarray(run.shared.vectors(texts))
    views = [vectors[rows], own_features(run.shared, Texts(pick_rows(texts.table, rows)))]
    passed = know_enough(merged[rows], views, gold[rows], agree, seed)
    rest = np.setdiff1d(np.arange(len(gold)), rows)
    taught, _ = fit_logistic(vectors[rows], gold[rows], labels, seed)
    both = merged[rest], taught.scores(vectors[rest])
    right = [float((found.argmax(axis=1) == gold[rest]).mean()) for found in both]
    return {"passed": passed, "open": bool(asked), "patterns": right[0], "embeddings": right[1]}


def table(lines: list[Line]) -> str:
    """Format one row per set and number of labeled texts, as Markdown."""
    shares = ("passed", "open", "patterns", "embeddings")
    rows = [
        [line["task"], line["examples"], *(f"{100 * line[key]:.0f}" for key in shares), f"{line['agreement']:.2f}"]
        for line in lines
    ]
    return common.markdown(["data", "labeled texts", "passed", "open", "patterns", "embeddings", "agreement"], rows)


@click.command()
@click.argument("wanted", nargs=-1, required=True, metavar="TASK:EXAMPLES...")
@common.shared_option
@common.output_option(common.HERE / "results" / "pattern_test.jsonl")
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=100, show_default=True, help="Unlabeled texts on which patterns are compared.")
@click.option("--test-rows", default=700, show_default=True, help="Labeled texts to draw from.")
@click.option("--draws", default=20, show_default=True, help="Draws of labeled texts.")
def main(wanted: tuple[str, ...], output: Path, **options: Any) -> None:
    """Test the patterns of the sets that are missing, and print the table."""
    import torch

    torch.set_num_threads(1)
    same = {key: options[key] for key in ("model", "pool_size", "draws")}
    runs = [run | same for run in common.wanted_runs(wanted, 1)]
    done = common.make_missing(output, runs, lambda run: one_set(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
