"""The whole of PET as one scikit-learn classifier of texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from pet.data.memory import table_of
from pet.data.targets import class_values, label_positions, label_text
from pet.errors import PetError
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.run.settings import MEMORY, METHODS, RunSettings
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.ensemble.soft_label_files import SoftLabelTable
    from pet.inference.ensemble import SavedEnsemble
    from pet.student.classifier import Classifier

Array = NDArray[Any]


class InputError(PetError, ValueError):
    """A `PetError` that is also the ValueError which scikit-learn expects of an estimator."""


@contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except PetError as error:
        raise InputError(error.problems) from error


def _fp32_if_auto(precision: str) -> str:
    return "fp32" if precision == "auto" else precision


class PetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify texts after a few examples, with the help of patterns and of unlabeled text.

    `fit` does what ``pet run`` does: it trains language models on the examples, put through each
    pattern of the task, lets them label the unlabeled texts, and distills a sequence classifier (the
    student) from these labels. Without unlabeled texts the ensemble itself predicts.

    Parameters
    ----------
    task : str, path, Task or mapping, optional
        Name of a shipped task, path of a task file, `Task`, or the mapping that a task file holds. None:
        `patterns` and `verbalizer` are the task.
    patterns : list of str, optional
        Templates over the field ``text``, such as ``"{text} It was {mask}."``.
    verbalizer : mapping, optional
        Label -> word, or list of words, for `patterns`. Its order is that of the labels.
    model : str
        Language model (masked, T5-like or causal): a folder, an embedded model or a hub name.
    method : {"pet", "ipet", "supervised", "zero-shot"}
        ``ipet`` repeats ``pet`` over generations, in which the members label ever larger training sets for
        each other; it needs unlabeled texts, and works without labeled ones. ``supervised`` trains a plain
        classifier on the examples alone. ``zero-shot`` trains nothing: the pretrained model fills the patterns.
    recipe : str
        A named set of hyper-parameters: ``default``, ``paper`` or ``fewglue``.
    settings : mapping, optional
        Hyper-parameters to change of it, such as ``{"steps": 100}``; see `make_recipe`.
    student_model : str, optional
        What the student starts from; None: `model`.
    random_state : int, RandomState or None
        An integer is the ``--seed`` of ``pet run``: the same texts then give the same student.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``. With ``auto`` the student predicts in fp32.
    output : path, optional
        Folder in which to keep the run; a fit that was interrupted goes on there, and commands like ``pet
        label`` take it. None: a temporary one that is removed.
    allow_pickle : bool
        Also open pickled weights, which can run code. Only for models that you trust.
    verbose : bool
        Show progress on the standard error stream.

    Attributes
    ----------
    classes_ : array of shape (L,)
        The labels in the order of the task: as `y` writes them, or else as the task does.
    task_ : Task
        The task that was used.
    n_features_in_ : int
        Number of text fields.
    student_ : Classifier or None
        The classifier that predicts; None after ``zero-shot``, and after ``pet`` without unlabeled texts.
    ensemble_ : SavedEnsemble or None
        The members, where there is no student.
    soft_labels_ : SoftLabelTable or None
        What the ensemble says of the unlabeled texts; ids are row numbers from 0. Texts that are also in
        the training data are left out.
    results_ : dict
        Counts, what was odd about the data, and for ``ipet`` the generations, as in metrics.json of a run.

    Notes
    -----
    A fitted classifier can be pickled, with its weights; unpickling can run code, so hand on the folder that
    `save` writes instead. Predictions need no file that `fit` has made, unless an ensemble of more than
    4 GB is left without a student.

    Examples
    --------
    >>> from pet import PetClassifier
    >>> texts = ["What a great movie.", "I left after ten minutes."]
    >>> more_texts = ["The plot is dull.", "Go and see it.", "Not worth the ticket.", "Wonderful music."]
    >>> classifier = PetClassifier(
    ...     patterns=["{text} It was {mask}.", "Just {mask}! {text}"],
    ...     verbalizer={"positive": ["good", "great"], "negative": ["bad", "terrible"]},
    ...     settings={"steps": 2, "student_steps": 2},
    ... )
    >>> classifier = classifier.fit(texts, ["positive", "negative"], unlabeled=more_texts)
    >>> classifier.classes_
    array(['positive', 'negative'], dtype='<U8')
    >>> classifier.predict_proba(more_texts).shape
    (4, 2)
    """

    def __init__(
        self,
        task: str | Path | Task | Mapping[str, Any] | None = None,
        *,
        patterns: Sequence[str] | None = None,
        verbalizer: Mapping[Any, str | Sequence[str]] | None = None,
        model: str = "mini-en",
        method: str = "pet",
        recipe: str = "default",
        settings: Mapping[str, Any] | None = None,
        student_model: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        precision: str = "auto",
        output: str | Path | None = None,
        allow_pickle: bool = False,
        verbose: bool = False,
    ):
        self.task = task
        self.patterns = patterns
        self.verbalizer = verbalizer
        self.model = model
        self.method = method
        self.recipe = recipe
        self.settings = settings
        self.student_model = student_model
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.output = output
        self.allow_pickle = allow_pickle
        self.verbose = verbose

    # ---- fitting -----------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, unlabeled: Any = None) -> PetClassifier:
        """Train on labeled and unlabeled texts.

        Parameters
        ----------
        X : list, array or Series of n str
            The labeled texts. For a task with several fields: n tuples in the order of its fields, n
            mappings, an array of shape (n, fields), or a DataFrame. ``zero-shot`` uses them for priming alone: None
            will do. For ``ipet`` without `y` they are the unlabeled texts.
        y : array-like of shape (n,)
            Their labels: text, numbers or truth values whose text is a label of the task, or a text
            of its ``label_map``. ``zero-shot`` and ``ipet`` need not have any: None will do.
        unlabeled : as `X`, optional
            Texts without labels, for the auxiliary loss and the student.

        Returns
        -------
        PetClassifier
            Itself.

        Raises
        ------
        PetError
            For texts, labels, a task or a model that cannot be used, with everything that is wrong. It
            is a ValueError, too.
        """
        with _as_value_error():
            task = self._make_task()
            tables, seen = self._tables(task, X, y, unlabeled)
            self._forget()
            if self.method == "zero-shot" and "unlabeled" not in tables:
                self._open_untrained(task, tables.get("train"))
            else:
                self._run(task, tables)
        given = [] if self.verbalizer is None else list(self.verbalizer)
        self.task_ = task
        self.n_features_in_ = len(task.fields)
        self.classes_ = class_values(task.labels, task.label_map, seen, given)
        return self

    def _make_task(self) -> Task:
        direct = self.patterns is not None or self.verbalizer is not None
        if self.task is None:
            return self._task_of_patterns()
        if direct:
            raise PetError("give either a task, or patterns and a verbalizer: a task has its own")
        if isinstance(self.task, Task):
            return self.task
        if isinstance(self.task, Mapping):
            return Task.from_dict(self.task)
        return Task.load(self.task)

    def _task_of_patterns(self) -> Task:
        if not self.patterns or not self.verbalizer:
            raise PetError(
                "there is no task: give task=, or patterns=['{text} It was {mask}.', ...] together with "
                "verbalizer={label: word, ...}"
            )
        patterns = [self.patterns] if isinstance(self.patterns, str) else list(self.patterns)
        words = {
            label_text(label): [given] if isinstance(given, str) else list(given)
            for label, given in self.verbalizer.items()
        }
        if len(words) < len(self.verbalizer):
            raise PetError("verbalizer: two labels have the same text, such as 1 and '1'; take one away")
        mapping = {"task": "texts", "fields": ["text"], "labels": list(words)}
        return Task.from_dict({**mapping, "verbalizer": words, "patterns": patterns})

    def _tables(self, task: Task, X: Any, y: Any, unlabeled: Any) -> tuple[dict[str, Dataset], list[Any]]:
        """The texts as the pipeline wants them, and the labels as they were given."""
        if self.method not in METHODS:
            raise PetError(f"method {self.method!r} is not known; there are {', '.join(METHODS)}")
        if self.method == "ipet" and y is None:
            return {"unlabeled": self._only_pool(task, X, unlabeled)}, []
        trains = self.method != "zero-shot"
        primes = not trains and make_recipe(self.recipe, self.settings).priming.count > 0
        if y is None and trains:
            raise PetError(f"method {self.method!r} requires y to be passed, but the target y is None")
        tables: dict[str, Dataset] = {}
        seen = [] if y is None else self._targets(y)
        if X is not None or trains:
            labels = None if y is None else label_positions(seen, task.labels, task.label_map)
            texts = table_of(X, task.fields, labels=labels)  # looked at in any case, for the mistakes in it
            if trains or (primes and y is not None):
                tables["train"] = texts
        if unlabeled is not None and self.method != "supervised":
            tables["unlabeled"] = table_of(unlabeled, task.fields, name="unlabeled")
        return tables, seen

    def _only_pool(self, task: Task, X: Any, unlabeled: Any) -> Dataset:
        """The unlabeled texts of a fit without labels, which may stand in either place."""
        if X is not None and unlabeled is not None:
            raise PetError("there are texts in X without labels in y: give y, or give all texts as unlabeled=")
        if X is None and unlabeled is None:
            raise PetError("method 'ipet' has members label texts for each other, and there are none: give unlabeled=")
        return table_of(unlabeled if X is None else X, task.fields, name="X" if unlabeled is None else "unlabeled")

    def _targets(self, y: Any) -> list[Any]:
        values = column_or_1d(y, warn=True)
        check_classification_targets(values)
        return list(values.tolist())

    def _forget(self) -> None:
        """Take away what an earlier fit has left."""
        for name in [key for key in vars(self) if key.endswith("_") and not key.startswith("_")]:
            delattr(self, name)
        self._folder: Any = None
        self.student_: Classifier | None = None
        self.ensemble_: SavedEnsemble | None = None
        self.soft_labels_: SoftLabelTable | None = None
        self.results_: dict[str, Any] = {}

    def _open_untrained(self, task: Task, primers: Dataset | None) -> None:
        from pet.inference.ensemble import untrained_ensemble

        if self.output is not None:
            raise PetError("zero-shot without unlabeled texts makes nothing to keep; leave output away")
        self.ensemble_ = untrained_ensemble(self._run_settings(task, {"unlabeled": primers}), task, primers)

    def _run(self, task: Task, tables: Mapping[str, Dataset]) -> None:
        """Run the pipeline in a folder and take from it what predictions need."""
        from pet.run.pipeline import run
        from pet.run.resolve import Given

        settings = self._run_settings(task, tables)
        reporter, given = self._reporter(), Given(task=task, tables=tables)
        if self.output is not None:
            place = Path(self.output).expanduser()
            self.results_ = run(settings, place, reporter, given=given)
            self._take(place, task)
            return
        folder = tempfile.TemporaryDirectory(prefix="pet-fit-", ignore_cleanup_errors=True)
        try:
            self.results_ = run(settings, folder.name, reporter, given=given)
            self._take(Path(folder.name), task)
        except BaseException:
            folder.cleanup()
            raise
        if self.ensemble_ is not None and not self.ensemble_.keep_all():
            self._folder = folder  # too large for the memory: it is removed together with this object
        else:
            folder.cleanup()

    def _seed(self) -> int:
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31 - 1)
        return int(seed)

    def _run_settings(self, task: Task, tables: Mapping[str, Any]) -> RunSettings:
        return RunSettings(
            task=task.to_dict(),
            train=MEMORY + "train" if "train" in tables else None,
            unlabeled=MEMORY + "unlabeled" if "unlabeled" in tables else None,
            test=None,
            model=str(self.model),
            method=self.method,
            student_model=None if self.student_model is None else str(self.student_model),
            seed=self._seed(),
            recipe=self.recipe,
            settings=dict(self.settings or {}),
            device=self.device,
            precision=self.precision,
            allow_pickle=self.allow_pickle,
        )

    def _take(self, place: Path, task: Task) -> None:
        from pet.ensemble.soft_label_files import read_soft_labels
        from pet.inference.ensemble import open_ensemble
        from pet.student.classifier import load_classifier

        if (place / "student").is_dir():
            self.student_ = load_classifier(str(place / "student"))
        else:
            self.ensemble_ = open_ensemble(place)
        labels = place / f"g{self.results_.get('generation', 0)}" / "labels.parquet"
        if labels.is_file():
            self.soft_labels_ = read_soft_labels(labels, task.labels)

    def _reporter(self) -> Reporter:
        return Reporter("auto" if self.verbose else "quiet")

    # ---- predicting --------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Array:
        """Probability of each label.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.

        Returns
        -------
        float64 array of shape (n, L), in the order of ``classes_``
        """
        from pet.training.device import make_accelerator

        check_is_fitted(self, "classes_")
        with _as_value_error():
            table = table_of(X, self.task_.fields)
            if self.student_ is not None:
                # As `pet predict` and a pipeline have it, unless the user wants it otherwise.
                accelerator = make_accelerator(self.device, _fp32_if_auto(self.precision))
                with self._reporter().task("predict", len(table), "text") as bar:
                    return self.student_.probabilities(table, accelerator, on_rows=bar.update)
            assert self.ensemble_ is not None
            self.ensemble_.use(self.device, self.precision)
            members = len(self.ensemble_.names)
            label = f"predict with {members} members"
            with self._reporter().task(label, len(table) * members, "score") as bar:
                return self.ensemble_.label(table, bar.update).probabilities

    def predict(self, X: Any) -> Array:
        """The most probable label of each text.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.

        Returns
        -------
        array of shape (n,), with values of ``classes_``
        """
        check_is_fitted(self, "classes_")
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.
        y : array-like of shape (n,)
            Their labels, in any spelling that `fit` takes.
        sample_weight : array-like of shape (n,), optional
            Weights of the texts.

        Returns
        -------
        float
            Share of the texts whose most probable label is the right one.
        """
        check_is_fitted(self, "classes_")
        with _as_value_error():
            right = label_positions(self._targets(y), self.task_.labels, self.task_.label_map)
            predicted = self.predict_proba(X).argmax(axis=1)
            if len(right) != len(predicted):
                raise PetError(f"X has {len(predicted)} texts, and there are {len(right)} labels in y; give one each")
        return float(np.average(predicted == right, weights=sample_weight))

    # ---- keeping -----------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the student as a ``transformers`` folder, with tokenizer and model card.

        ``pipeline("text-classification", folder)`` and ``pet predict`` open it.

        Parameters
        ----------
        folder : str or path
            A new or empty folder.

        Raises
        ------
        PetError
            When there is no student, or the folder cannot be written.
        """
        from pet.store.outputs import check_new_folder, writing_folder

        check_is_fitted(self, "classes_")
        if self.student_ is None:
            raise PetError(
                "there is no student to save: the ensemble predicts; fit with method 'pet' and unlabeled= to get one"
            )
        with writing_folder(check_new_folder(folder)) as beside:
            self.student_.save(beside)
            (beside / "README.md").write_text(self._card(), encoding="utf-8")

    def _card(self) -> str:
        from pet.report.card import CardTask, student_card

        counts = self.results_["data"]
        return student_card(
            CardTask.of(self.task_),
            self.results_["method"],
            str(self.student_model or self.model),
            facts={"labeled examples": counts["train"], "unlabeled texts": counts["pool"]},
        )

    def __getstate__(self) -> dict[str, Any]:
        if getattr(self, "_folder", None) is not None:
            raise PetError(
                "this ensemble is too large for the memory and lies in temporary files, which cannot be "
                "pickled; fit with unlabeled= to get a student, or with output= to keep the files"
            )
        # On the processor, so that a machine without the device can open it.
        if (student := vars(self).get("student_")) is not None:
            student.model.to("cpu")
        if (ensemble := vars(self).get("ensemble_")) is not None:
            ensemble.to_cpu()
        return dict(super().__getstate__())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = self.method not in ("zero-shot", "ipet")
        tags.non_deterministic = self.random_state is None
        return tags
