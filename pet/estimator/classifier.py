"""PET as a scikit-learn classifier of texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pet.data.memory import table_of
from pet.data.targets import label_positions
from pet.data.values import label_text
from pet.errors import PetError
from pet.estimator.classes import class_order, read_targets
from pet.estimator.inputs import (
    as_value_error,
    fit_tables,
    make_task,
    plain_settings,
    setting_names,
    target_values,
)
from pet.estimator.label_sets import indicator_of
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.resources import expand
from pet.run.settings import MEMORY, RunSettings
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.ensemble.soft_label_files import SoftLabelTable
    from pet.estimator.fitted import Fitted
    from pet.inference.ensemble import SavedEnsemble
    from pet.student.classifier import Classifier

Array = NDArray[Any]


class PetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify texts, given a few labeled examples, patterns, and unlabeled texts.

    `fit` does what ``pet run`` does: it trains language models on the examples, using the patterns of the task, labels
    the unlabeled texts with them, and trains a sequence classifier (the student) on these soft labels. Without
    unlabeled texts, the ensemble itself predicts.

    Parameters
    ----------
    task : str, path, Task or mapping, optional
        Name of a built-in task, path of a task file, `Task`, or mapping with the content of a task file. None: use
        `patterns` and `verbalizer`.
    patterns : list of str, optional
        Templates over the field ``text``, such as ``"{text} It was {mask}."``.
    verbalizer : mapping, optional
        Label -> word or list of words, for `patterns`. It defines the labels of the task and their order there.
    model : str
        Language model (masked, T5-like or causal): a folder, an embedded model, or a hub name.
    method : {"pet", "ipet", "pcp", "supervised", "zero-shot"}
        ``ipet`` trains generations of members, each on a larger training set labeled by the generation before; it
        requires unlabeled texts, and also works without labeled ones. ``pcp`` first trains the model on unlabeled
        texts with pseudo-labels in their patterns. ``supervised`` trains a plain classifier on the examples.
        ``zero-shot`` trains nothing: the pretrained model fills in the patterns.
    recipe : str
        Named set of hyperparameters: ``default``, ``low`` or ``high`` (less or more training), ``paper``, ``fewglue``.
    settings : mapping, optional
        Hyperparameters to change, such as ``{"steps": 100}``; see `pet.make_recipe`. The class ratio of the unlabeled
        texts may be a mapping: ``{"prior": {"good": 0.8, "bad": 0.2}}``. Each can also be a parameter of its own:
        ``PetClassifier(task, steps=100)``.
    student_model : str, optional
        Model that the student starts from; None: `model`.
    random_state : int, RandomState or None
        An integer is the ``--seed`` of ``pet run``: the same texts then give the same student.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``. With ``auto`` the student predicts in fp32.
    output : path, optional
        Folder to keep the run in, with its texts. A fit that was interrupted resumes there, and commands such as
        ``pet label`` and ``pet review`` accept it. None: a temporary folder, which is removed.
    allow_pickle : bool
        Also open pickled weights, which can run code. Only for models that you trust.
    estimate : bool or None
        Estimate the accuracy from the labeled texts, in ``results_["estimate"]``: members trained on half of them label
        the other half. It requires eight labeled texts. None: if that takes at most half as long as the rest of `fit`.
    verbose : bool
        Show progress on standard error.
    **hyperparameters : any
        Settings by their names, such as ``steps=100``. `set_params` changes them, so ``GridSearchCV`` and optuna can
        search them.

    Attributes
    ----------
    classes_ : array of shape (L,)
        All labels of the task in sorted order, as in every classifier of scikit-learn; spelled as in `y`, or else as in
        the task. If the task has ``multi_label``, they are in the order of the task, as the columns of `y`.
    class_positions_ : int64 array of shape (L,)
        Position of each class in ``task_.labels``. The task's order is that of `student_`, `ensemble_` and all files.
    task_ : Task
        The task.
    n_features_in_ : int
        Number of text fields.
    student_ : Classifier or None
        The classifier that predicts; None after ``zero-shot``, and after ``pet`` without unlabeled texts.
    ensemble_ : SavedEnsemble or None
        The members, if there is no student.
    soft_labels_ : SoftLabelTable or None
        Soft labels of the unlabeled texts, with columns in the order of ``classes_``; ids are row numbers from 0. Texts
        that are also in the training data are left out.
    results_ : dict
        Row counts, warnings about the data, and for ``ipet`` the generations, as in metrics.json of a run.

    Notes
    -----
    A fitted classifier can be pickled, with its weights. Unpickling can run code, so to share a classifier, use the
    folder that `save` writes. Predictions do not need files written by `fit`, unless an ensemble of more than 4 GB
    predicts.

    Examples
    --------
    >>> import numpy as np
    >>> from pet import PetClassifier
    >>> texts = ["What a great movie.", "I left after ten minutes."]
    >>> more_texts = ["The plot is dull.", "Go and see it.", "Not worth the ticket.", "Wonderful music."]
    >>> classifier = PetClassifier(
    ...     patterns=["{text} It was {mask}.", "Just {mask}! {text}"],
    ...     verbalizer={"positive": ["good", "great"], "negative": ["bad", "terrible"]},
    ...     settings={"steps": 2, "student_steps": 2},
    ... )
    >>> classifier = classifier.fit(texts, ["positive", "negative"], unlabeled=more_texts)
    >>> probabilities = classifier.predict_proba(more_texts)
    >>> probabilities.shape
    (4, 2)

    Columns are in the order of ``classes_``. ``class_positions_`` maps it to the order of the task, and its inverse
    maps back:

    >>> classifier.classes_
    array(['negative', 'positive'], dtype='<U8')
    >>> classifier.task_.labels
    ('positive', 'negative')
    >>> [classifier.task_.labels[i] for i in classifier.class_positions_]
    ['negative', 'positive']
    >>> in_task_order = probabilities[:, np.argsort(classifier.class_positions_)]
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
        estimate: bool | None = False,
        verbose: bool = False,
        **hyperparameters: Any,
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
        self.estimate = estimate
        self.verbose = verbose
        self._set(hyperparameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, among them the settings that are parameters of their own.

        Parameters
        ----------
        deep : bool
            Has no effect: no parameter is an estimator.

        Examples
        --------
        >>> from pet import PetClassifier
        >>> PetClassifier("reviews.yaml", steps=10).set_params(steps=20).get_params()["steps"]
        20
        """
        return {**super().get_params(deep), **self._hyperparameters()}

    def set_params(self, **params: Any) -> PetClassifier:
        """Change parameters, and settings by their names.

        Raises
        ------
        ValueError
            If there is no such parameter or setting.
        """
        known = setting_names() | self._hyperparameters().keys()
        own = {name: value for name, value in params.items() if name in known}
        super().set_params(**{name: value for name, value in params.items() if name not in own})
        self._set(own)
        return self

    def _set(self, hyperparameters: Mapping[str, Any]) -> None:
        for name, value in hyperparameters.items():
            setattr(self, name, value)

    def _hyperparameters(self) -> dict[str, Any]:
        """Return the settings that are parameters of their own. `fit` checks them, as it checks all parameters."""
        others = self._get_param_names()
        return {
            name: value
            for name, value in vars(self).items()
            if name not in others and not name.startswith("_") and not name.endswith("_")
        }

    def fit(self, X: Any, y: Any = None, unlabeled: Any = None) -> PetClassifier:
        """Train on labeled and unlabeled texts.

        Parameters
        ----------
        X : list, array or Series of n str
            Labeled texts. For a task with several fields: n tuples in the order of its fields, n mappings, an array
            of shape (n, fields), or a DataFrame, mapping of columns, Arrow table or data set. May be None for
            ``zero-shot``, which uses them only for priming. For ``ipet`` without `y`, these are the unlabeled texts.
        y : array-like of shape (n,)
            Their labels: strings, whole numbers or booleans whose text is a label of the task or a key of its
            ``label_map``, in any NumPy, pandas or Arrow type, without missing values. May be None for
            ``zero-shot`` and ``ipet``. If the task has ``multi_label``: a list with the labels of each text, or 0 and 1
            for each label, as an array of shape (n, L) in the order of the task, or a DataFrame with their names.
        unlabeled : as `X`, optional
            Texts without labels, for the auxiliary MLM loss and the student.

        Returns
        -------
        PetClassifier
            This object.

        Raises
        ------
        PetError
            With every mistake in texts, labels, task and settings. It is also a ValueError.
        """
        with as_value_error():
            task = make_task(self.task, self.patterns, self.verbalizer)
            targets = read_targets(y, task, [] if self.verbalizer is None else list(self.verbalizer))
            positions = np.arange(len(task.labels)) if task.multi_label else class_order(targets.classes)
            recipe = make_recipe(self.recipe, plain_settings(self.settings, task, self._hyperparameters()))
            primes = self.method == "zero-shot" and recipe.priming.count > 0
            tables = fit_tables(self.method, task, X, targets.positions, unlabeled, primes=primes)
            self._forget()
            fitted = self._fit(task, tables)
        self._keep(fitted, task)
        self._sort(targets.classes, positions, fitted.soft_labels)
        return self

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", allow_pickle: bool = False) -> PetClassifier:
        """Return a fitted classifier from the folder of a finished run, of `fit` with ``output`` or of ``pet run``.

        Its parameters are those of the run, as far as the run has them; ``fit`` trains anew. Predictions are labels as
        the task writes them: a run does not record that `y` had numbers or booleans.

        Parameters
        ----------
        folder : run directory
        device : where to predict
        allow_pickle : also open pickled weights

        Raises
        ------
        PetError
            If the folder is no finished run.

        Examples
        --------
        >>> from pet import PetClassifier
        >>> classifier = PetClassifier.load("runs/reviews")
        >>> classifier.classes_.tolist(), len(classifier.predict(["A fine film."]))
        (['bad', 'good'], 1)
        """
        from pet.estimator.fitted import open_run

        with as_value_error():
            settings, task, fitted = open_run(expand(folder), allow_pickle)
            loaded = cls(
                task=task, model=settings.model, method=settings.method, student_model=settings.student_model,
                recipe=settings.recipe, settings=dict(settings.settings), random_state=settings.seed,
                device=device, precision=settings.precision, allow_pickle=allow_pickle, estimate=settings.estimate,
            )  # fmt: skip
            classes = read_targets(None, task).classes
            positions = np.arange(len(classes)) if task.multi_label else class_order(classes)
            loaded._keep(fitted, task)
            loaded._sort(classes, positions, fitted.soft_labels)
        return loaded

    def _keep(self, fitted: Fitted, task: Task) -> None:
        """Set the attributes of a fit that do not depend on the order of the classes."""
        self._fitted: Fitted = fitted
        self.student_: Classifier | None = fitted.student
        self.ensemble_: SavedEnsemble | None = fitted.ensemble
        self.results_: dict[str, Any] = fitted.results
        self.task_ = task
        self.n_features_in_ = len(task.fields)

    def _sort(self, classes: Array, positions: Array, soft_labels: SoftLabelTable | None) -> None:
        """Set the attributes that follow the order of the sorted classes, from values in task order."""
        self.classes_ = classes[positions]
        self.class_positions_ = positions
        self.soft_labels_: SoftLabelTable | None = soft_labels and replace(
            soft_labels,
            probabilities=soft_labels.probabilities[:, positions],
            labels=[soft_labels.labels[i] for i in positions],
        )

    def _forget(self) -> None:
        """Remove the attributes of an earlier fit."""
        for name in [key for key in vars(self) if key == "_fitted" or (key.endswith("_") and not key.startswith("_"))]:
            delattr(self, name)

    def _fit(self, task: Task, tables: Mapping[str, Dataset]) -> Fitted:
        from pet.estimator.fitted import Fitted, fit_run
        from pet.inference.ensemble import untrained_ensemble

        if self.method == "zero-shot" and "unlabeled" not in tables:
            if self.output is not None:
                raise PetError("zero-shot without unlabeled texts has nothing to keep; remove output=")
            return Fitted(untrained_ensemble(self._run_settings(task, ["unlabeled"]), task, tables.get("train")))
        output = None if self.output is None else expand(self.output)
        return fit_run(self._run_settings(task, tables), task, tables, output, self._reporter())

    def _run_settings(self, task: Task, tables: Collection[str]) -> RunSettings:
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
            settings=plain_settings(self.settings, task, self._hyperparameters()),
            device=self.device,
            precision=self.precision,
            allow_pickle=self.allow_pickle,
            estimate=self.estimate,
        )

    def _seed(self) -> int:
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31 - 1)
        return int(seed)

    def _reporter(self) -> Reporter:
        return Reporter("auto" if self.verbose else "quiet")

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each label.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.

        Returns
        -------
        float64 array of shape (n, L), in the order of ``classes_``
        """
        check_is_fitted(self, "classes_")
        with as_value_error():
            table = table_of(X, self.task_.fields, columns=self.task_.columns)
            found = self._fitted.probabilities(table, self.device, self.precision, self._reporter())
        return found[:, self.class_positions_]

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each text.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.

        Returns
        -------
        array of shape (n,), with values of ``classes_``. If the task has ``multi_label``, int64 array of shape (n, L)
        with 1 for each label whose probability is at least the threshold that was learned from the labeled texts
        """
        check_is_fitted(self, "classes_")
        if self.task_.multi_label:
            return (self.predict_proba(X) >= self._fitted.threshold).astype(np.int64)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : list, array or Series of n str; or as in `fit`
            The texts.
        y : array-like of shape (n,)
            Their labels, in any spelling that `fit` accepts.
        sample_weight : array-like of shape (n,), optional
            Weights of the texts.

        Returns
        -------
        float
            Share of texts whose most probable label is the gold label; or if the task has ``multi_label``, whose labels
            are all right.
        """
        from sklearn.metrics import accuracy_score

        check_is_fitted(self, "classes_")
        with as_value_error():
            if self.task_.multi_label:
                truth, said = indicator_of(y, self.task_), self.predict(X)
                if len(truth) != len(said):
                    raise PetError(f"X has {len(said)} texts, but y has {len(truth)} rows; pass one row per text")
                return float(accuracy_score(truth, said, sample_weight=sample_weight))
            labels = [self.task_.labels[i] for i in self.class_positions_]
            spellings = {str(label_text(value)): label for value, label in zip(self.classes_, labels, strict=True)}
            gold = label_positions(target_values(y), labels, {**self.task_.label_map, **spellings})
            predicted = self.predict_proba(X).argmax(axis=1)
            if len(gold) != len(predicted):
                raise PetError(f"X has {len(predicted)} texts, but y has {len(gold)} labels; pass one label per text")
        return float(accuracy_score(gold, predicted, sample_weight=sample_weight))

    def save(self, folder: str | Path) -> None:
        """Write the student as a ``transformers`` folder, with tokenizer and model card.

        ``pipeline("text-classification", folder)`` and ``pet predict`` open it.

        Parameters
        ----------
        folder : str or path
            A new or empty folder. `load` opens the folder of a run instead: fit with `output`.

        Raises
        ------
        PetError
            If there is no student, or the folder cannot be written.
        """
        from pet.store.outputs import check_new_folder, writing_folder

        check_is_fitted(self, "classes_")
        if self.student_ is None:
            raise PetError("there is no student to save; fit with method 'pet' and unlabeled= to train one")
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
        fitted: Fitted | None = vars(self).get("_fitted")
        if fitted is not None:
            if fitted.folder is not None:
                raise PetError(
                    "this ensemble does not fit into memory, so its members are in temporary files and cannot be "
                    "pickled; fit with unlabeled= to train a student, or with output= to keep the files"
                )
            fitted.to_cpu()
        return dict(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "classes_" in state and "class_positions_" not in state:  # pickled when classes were in the task's order
            self._sort(self.classes_, class_order(self.classes_), self.soft_labels_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = self.method not in ("zero-shot", "ipet")
        tags.non_deterministic = self.random_state is None
        return tags
