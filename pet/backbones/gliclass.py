"""Open GLiClass models (Stepanov et al. 2025, arXiv 2508.07662), with the package that defines them (extra `gliclass`).

Such a model reads the labels and a text at once, and scores every label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from pet.backbones.load import load_model, load_tokenizer, opening, read_config_file
from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.process import without_messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL_TYPE, ARCHITECTURE = "GLiClass", "uni-encoder"
MARKS = ("<<LABEL>>", "<<SEP>>")  # tokens that every such model has


def load_gliclass(name: str, *, allow_pickle: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a GLiClass model and its tokenizer.

    Parameters
    ----------
    name : folder or hub name
    allow_pickle : also accept pickled weights

    Raises
    ------
    PetError
        If it is not such a model, lacks weights, or is of an architecture that pet does not know; or if the package
        gliclass is not installed.
    """
    check_gliclass(name)
    if not is_installed("gliclass"):
        raise PetError(f"model {name}: GLiClass models require gliclass; {install_command('gliclass')}")
    with opening(name, "configuration"), without_messages():
        from gliclass import GLiClassModel, GLiClassModelConfig

        config = GLiClassModelConfig(**_values(name))
        config.encoder_model_name = ""  # nothing is read from elsewhere
    model, info = load_model(name, GLiClassModel, config=config, allow_pickle=allow_pickle)
    if info["missing_keys"]:
        raise PetError(f"model {name}: the checkpoint is incomplete; download it again, or give another model")
    tokenizer = load_tokenizer(name, config)
    known = tokenizer.get_vocab()
    if not tokenizer.is_fast or known.get(MARKS[0]) != config.class_token_index or MARKS[1] not in known:
        raise PetError(f"model {name}: its tokenizer does not know {' and '.join(MARKS)}; download the model again")
    return model, tokenizer


def check_gliclass(name: str) -> None:
    """Check that a model is a GLiClass model that can be opened. Raises PetError if not."""
    values = _values(name)
    if values.get("model_type") != MODEL_TYPE:
        raise PetError(
            f"model {name}: is of type {str(values.get('model_type'))[:40]!r}, not {MODEL_TYPE}; use a model such as "
            "knowledgator/gliclass-base-v1.0"
        )
    encoder = values.get("encoder_config")
    kind = encoder.get("model_type") if isinstance(encoder, dict) else None
    if values.get("architecture_type") != ARCHITECTURE or kind not in CONFIG_MAPPING_NAMES:
        raise PetError(
            f"model {name}: pet opens GLiClass models of the architecture {ARCHITECTURE} with an encoder that "
            f"transformers knows, not {str(values.get('architecture_type'))[:40]!r} with {str(kind)[:40]!r}; use "
            "another model"
        )


def _values(name: str) -> dict[str, Any]:
    values = read_config_file(name)
    if values is None:
        raise PetError(f"model {name}: no config.json; check the name, the folder, or the network")
    return dict(values)
