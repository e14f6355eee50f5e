"""What the outputs of a sequence classifier mean, according to its config.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pet.backbones.load import read_config_file
from pet.errors import PetError

_SINGLE, _MULTI, _REGRESSION = "single_label_classification", "multi_label_classification", "regression"
_CURE = "correct its config.json"


@dataclass(frozen=True)
class Outputs:
    """The labels of a classifier, and how its logits become probabilities.

    Attributes
    ----------
    labels : tuple of str
        One name for each logit, in order.
    independent : bool
        False: a text has one label (softmax). True: each label applies or does not (a sigmoid for each).
    """

    labels: tuple[str, ...]
    independent: bool = False


def read_outputs(name: str) -> Outputs | None:
    """Read the meaning of a model's outputs, as `transformers.TextClassificationPipeline` understands it.

    A softmax applies to two or more labels, unless ``problem_type`` is ``multi_label_classification``; then, and for a
    single output, a sigmoid applies to each.

    Parameters
    ----------
    name : folder, embedded model, or hub name

    Returns
    -------
    Outputs or None
        None if there is no config.json; loading the model explains why.

    Raises
    ------
    PetError
        If the model is a regression model, or its config.json contradicts itself.
    """
    config = read_config_file(name)
    return None if config is None else outputs_of(config, name)


def outputs_of(config: Mapping[str, Any], name: str) -> Outputs:
    """Read the meaning of the outputs from the content of a config.json; see `read_outputs`.

    Examples
    --------
    >>> outputs_of({"id2label": {"0": "bad", "1": "good"}}, "reviews")
    Outputs(labels=('bad', 'good'), independent=False)
    >>> outputs_of({"num_labels": 1}, "toxic")
    Outputs(labels=('LABEL_0',), independent=True)
    """
    kind = config.get("problem_type")
    if kind == _REGRESSION:
        raise PetError(
            f"model {name}: is a regression model (problem_type is {_REGRESSION!r}): its outputs are numbers, not "
            "probabilities of labels; use a classifier"
        )
    if kind not in (None, _SINGLE, _MULTI):
        raise PetError(f"model {name}: unknown problem_type {kind!r}; {_CURE}: {_SINGLE!r} or {_MULTI!r}")
    labels = _label_names(config, name)
    if kind == _SINGLE and len(labels) == 1:
        raise PetError(f"model {name}: has one output, but problem_type is {_SINGLE!r}, which requires two; {_CURE}")
    return Outputs(labels, independent=kind == _MULTI or len(labels) == 1)


def _label_names(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given, count = config.get("id2label"), config.get("num_labels", config.get("_num_labels"))
    if count is not None and (type(count) is not int or count < 1):
        raise PetError(f"model {name}: num_labels is {count!r:.60}; it must be 1 or more; {_CURE}")
    if given is None:
        return tuple(f"LABEL_{i}" for i in range(2 if count is None else count))
    if not isinstance(given, Mapping) or not given:
        raise PetError(f"model {name}: id2label must map the number of each output to a label; {_CURE}")
    names = {_number(key): label for key, label in given.items()}
    if set(names) != set(range(len(given))):
        raise PetError(
            f"model {name}: id2label has the numbers {', '.join(map(str, given))[:200]}, not 0 to {len(given) - 1}; "
            f"{_CURE}"
        )
    if count is not None and count != len(names):
        raise PetError(f"model {name}: id2label has {len(names)} labels, but num_labels is {count}; {_CURE}")
    labels = tuple(_text(names[i], name) for i in range(len(names)))
    twice = next((label for label, count in Counter(labels).items() if count > 1), None)
    if twice is not None:
        raise PetError(f"model {name}: id2label gives the label {twice!r} to more than one output; {_CURE}")
    _check_inverse(config.get("label2id"), labels, name)
    return labels


def _number(key: Any) -> int | None:
    """Return the number of an output; None if the key is not a number."""
    text = str(key)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _text(label: Any, name: str) -> str:
    if isinstance(label, bool) or not isinstance(label, (str, int)):
        raise PetError(f"model {name}: id2label holds {label!r:.60}, which is not a label name; {_CURE}")
    return str(label)


def _check_inverse(label2id: Any, labels: tuple[str, ...], name: str) -> None:
    """Check that label2id does not give a label to another output. Names that id2label lacks are ignored."""
    if not isinstance(label2id, Mapping):
        return
    for number, label in enumerate(labels):
        other = label2id.get(label, number)
        if _number(other) != number:
            raise PetError(
                f"model {name}: label {label!r} is output {number} in id2label, but {other!r:.20} in label2id; {_CURE}"
            )
