"""Load models and tokenizers, with clear error messages."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from pet import resources
from pet.compat import dtype_argument, without_progress_bars
from pet.errors import PetError
from pet.store.files import hash_file, hash_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_MODEL = "mini-en"


def resolve_model(name: str) -> str:
    """Resolve a folder, embedded model or hub name to an argument for ``from_pretrained``.

    Raises
    ------
    PetError
        If the name looks like a folder that does not exist.
    """
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    embedded = resources.folder("models") / name
    if "/" not in name and "\\" not in name and embedded.is_dir():
        return str(embedded)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise PetError(f"model {name}: folder not found; give a folder saved by save_pretrained, or a hub name")
    return name


def _check_folder(folder: Path, allow_pickle: bool) -> None:
    if not (folder / "config.json").is_file():
        raise PetError(f"model {folder}: no config.json in this folder; give a folder saved by save_pretrained")
    found = sorted(folder.glob("*.safetensors"))
    for path in found:
        try:
            with safe_open(path, "pt"):  # reads the header and checks it against the file size
                pass
        except SafetensorError as error:
            raise PetError(
                f"model {folder}: {path.name} is truncated or not a safetensors file ({error}); download it again "
                "(Git LFS files: `git lfs pull`)"
            ) from error
    if found:
        return
    pickled = [p.name for p in (*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt"))]
    if not pickled:
        raise PetError(f"model {folder}: no weights (model.safetensors) in this folder; give another folder")
    if not allow_pickle:
        raise _pickled(folder, pickled[0])


def _pickled(name: object, file: str) -> PetError:
    return PetError(
        f"model {name}: its weights ({file}) are pickled, and loading them can execute arbitrary code; convert them "
        "to safetensors, or pass --allow-pickle if you trust their source"
    )


def check_model(name: str, *, allow_pickle: bool = False) -> None:
    """Check that a model folder exists and has loadable weights. Hub names are not looked up.

    Raises
    ------
    PetError
        If the folder does not exist, or has no weights or only pickled ones (without `allow_pickle`).
    """
    path = Path(resolve_model(name))
    if path.is_dir():
        _check_folder(path, allow_pickle)


def load_problem(name: str, what: str, error: Exception) -> PetError:
    """Convert an exception from loading a model's `what` to a PetError."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return PetError(
        f"model {name}: cannot load its {what} ({reason[:300]}); check the name, the folder, or the network"
    )


def load_config(name: str) -> Any:
    """Load the configuration of a model folder, embedded model or hub name; PetError if that fails."""
    try:
        return transformers.AutoConfig.from_pretrained(resolve_model(name))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise load_problem(name, "configuration", error) from error


def load_tokenizer(name: str, config: Any = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder, embedded model or hub name; PetError if that fails."""
    path = resolve_model(name)
    try:
        return transformers.AutoTokenizer.from_pretrained(path, config=config)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise load_problem(name, "tokenizer", error) from error


def load_model(
    name: str, kind: Any, *, allow_pickle: bool = False, **options: Any
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """Load a model in float32.

    Parameters
    ----------
    name : folder, embedded model or hub name
    kind : an ``Auto`` class of transformers
    allow_pickle : also accept ``pytorch_model.bin``
    **options : further arguments for ``from_pretrained``

    Returns
    -------
    the model, and the loading info of ``from_pretrained`` (missing keys, ...)

    Raises
    ------
    PetError
        If there are no weights, they are pickled (without `allow_pickle`), or the architecture does not match.
    """
    path = resolve_model(name)
    if Path(path).is_dir():
        _check_folder(Path(path), allow_pickle)
    options |= dtype_argument(torch.float32)
    if not allow_pickle:
        options["use_safetensors"] = True
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # callers check missing weights themselves
    try:
        with warnings.catch_warnings(), without_progress_bars():
            warnings.simplefilter("ignore")
            return kind.from_pretrained(path, output_loading_info=True, **options)  # type: ignore[no-any-return]
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        if "use_safetensors" in options and "safetensors" in str(error) and not Path(path).is_dir():
            raise _pickled(name, "of a hub model") from error
        raise load_problem(name, "weights", error) from error
    finally:
        transformers.utils.logging.set_verbosity(before)


def check_classifier(name: str, config: Any) -> None:
    """Check that a model can be a student, that is, that its architecture has a sequence classifier.

    Raises
    ------
    PetError
        If it has none.
    """
    kind = config.model_type
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise PetError(
            f"model {name}: models of type {kind!r} have no sequence classifier and cannot be a student; choose "
            "another model with --student-model"
        )


def load_masked_lm(name: str, *, allow_pickle: bool = False, **options: Any) -> PreTrainedModel:
    """Load a masked language model with a trained head.

    Raises
    ------
    PetError
        If it is not a masked LM, or its head would be randomly initialized.
    """
    cure = "use a masked language model, or train a head for this encoder with `pet adapt`"
    return _load_trained(name, transformers.AutoModelForMaskedLM, cure, allow_pickle, **options)


def load_encoder_decoder(name: str, *, allow_pickle: bool = False, **options: Any) -> PreTrainedModel:
    """Load an encoder-decoder with a trained output layer; PetError otherwise."""
    cure = "use a model with a trained decoder and head"
    return _load_trained(name, transformers.AutoModelForSeq2SeqLM, cure, allow_pickle, **options)


def load_causal_lm(name: str, *, allow_pickle: bool = False, **options: Any) -> PreTrainedModel:
    """Load a causal language model with a trained output layer; PetError otherwise."""
    cure = "use a model with a trained head"
    return _load_trained(name, transformers.AutoModelForCausalLM, cure, allow_pickle, **options)


def load_pretrainable(name: str) -> tuple[PreTrainedModel, bool]:
    """Load a masked language model for further pretraining.

    An encoder without a masked-LM head gets a new one, whose output weights are the word embeddings.

    Returns
    -------
    model : PreTrainedModel
    new_head : bool

    Raises
    ------
    PetError
        If it cannot be loaded, is not an encoder, or lacks weights other than those of the head.
    """
    torch.manual_seed(0)  # a new head is the same each time
    model, info = load_model(name, transformers.AutoModelForMaskedLM)
    random_head, random_body = _random_weights(model, info)
    if random_body:
        raise PetError(f"model {name}: the checkpoint is incomplete (no weights for {', '.join(random_body[:3])})")
    new_head = any(key.endswith("weight") for key in random_head)
    if new_head:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return model, new_head


def _load_trained(name: str, kind: Any, cure: str, allow_pickle: bool, **options: Any) -> PreTrainedModel:
    model, info = load_model(name, kind, allow_pickle=allow_pickle, **options)
    random_head, random_body = _random_weights(model, info)
    random = random_head + random_body
    if random:
        raise PetError(
            f"model {name}: no trained weights for {', '.join(random[:3])}"
            f"{' and more' if len(random) > 3 else ''}, so it cannot fill a mask; {cure}"
        )
    return model


def _random_weights(model: PreTrainedModel, info: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the weights of head and body that were not in the checkpoint and matter."""
    missing, body = sorted(map(str, info["missing_keys"])), f"{model.base_model_prefix}."
    in_head = [key for key in missing if not key.startswith(body) and not key.endswith("bias")]
    in_body = [key for key in missing if key.startswith(body) and "pooler" not in key and "position_ids" not in key]
    return in_head, in_body


def model_fingerprint(name: str) -> str:
    """Return a hash of a model folder's weights, config and tokenizer, or the cached commit of a hub model."""
    path = Path(resolve_model(name))
    if path.is_dir():
        wanted = (".safetensors", ".json", ".txt", ".model", ".bin")
        return hash_inputs({p.name: hash_file(p) for p in sorted(path.iterdir()) if p.suffix in wanted})
    from transformers.utils import cached_file

    try:
        found = cached_file(name, "config.json")
    except OSError as error:
        raise load_problem(name, "configuration", error) from error
    return Path(str(found)).parent.name  # .../snapshots/COMMIT/config.json
