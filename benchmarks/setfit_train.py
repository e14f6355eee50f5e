"""Train SetFit and predict test texts, for peers.py, in an environment that has setfit but not this package.

    python benchmarks/setfit_train.py task.json result.json

task.json has ``model`` (folder of an encoder), ``train`` (pairs of text and label index), ``test`` (texts), ``seed``,
``max_length`` and ``most_steps``. All other options are setfit's defaults. result.json gets ``predicted`` (a label
index for each test text), ``cpu`` (seconds of training and prediction, without imports) and ``versions``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any


def pair_count(labels: list[int]) -> int:
    """Return the number of pairs that setfit trains on by default: as many equal as unequal ones.

    >>> pair_count([0, 0, 1])
    8
    """
    equal = sum(count * (count + 1) // 2 for count in Counter(labels).values())  # a text is also paired with itself
    return 2 * max(equal, len(labels) * (len(labels) + 1) // 2 - equal)


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Train on the examples and predict the test texts."""
    import sentence_transformers
    import setfit
    import transformers
    from datasets import Dataset
    from sklearn.linear_model import LogisticRegression

    begun = time.process_time()
    texts, labels = [text for text, _ in task["train"]], [label for _, label in task["train"]]
    body = sentence_transformers.SentenceTransformer(
        task["model"], device="cpu", model_kwargs={"dtype": "float32"}
    )  # a folder without a pooling configuration gets mean pooling
    body.max_seq_length = task["max_length"]
    model = setfit.SetFitModel(model_body=body, model_head=LogisticRegression())
    with tempfile.TemporaryDirectory(prefix="pet-setfit-") as folder:
        arguments = setfit.TrainingArguments(
            output_dir=folder, seed=task["seed"], report_to="none", show_progress_bar=False, save_strategy="no"
        )
        if pair_count(labels) > task["most_steps"] * arguments.embedding_batch_size:
            arguments.max_steps = task["most_steps"]
        trainer = setfit.Trainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict({"text": texts, "label": labels})
        )
        trainer.train()
    predicted = model.predict(task["test"], as_numpy=True, show_progress_bar=False)
    return {
        "predicted": [int(label) for label in predicted],
        "cpu": time.process_time() - begun,
        "versions": {module.__name__: module.__version__ for module in (setfit, sentence_transformers, transformers)},
    }


def main() -> None:
    """Read the task and write the result."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(train(task)), encoding="utf-8")


if __name__ == "__main__":
    main()
