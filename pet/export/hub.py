"""Send a classifier or soft labels to the Hugging Face Hub: only the files that belong there, with a checked card."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, DatasetCardData, HfApi, ModelCard

from pet.data.columns import some
from pet.data.open_source import open_source
from pet.ensemble.soft_label_files import read_soft_labels
from pet.errors import PetError
from pet.export.label_columns import further_columns
from pet.inference.ensemble import used_generation
from pet.inference.place import check_place, classifier_folder
from pet.report.card import escape, front_matter
from pet.resources import expand
from pet.run.load_run import is_run, read_settings
from pet.store.manifest import read_stages
from pet.store.recorded import check_recorded
from pet.store.yaml_reader import parse_yaml

README = "README.md"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
_DATA = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# Files of a classifier that belong on the hub. Others, such as test-logits.npy, do not.
_BELONGS = re.compile(
    r"config\.json|pet\.json|README\.md|model([\w.-]*)\.safetensors(\.index\.json)?|tokenizer\.json"
    r"|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(txt|json)|merges\.txt"
    r"|[\w.-]*\.model|onnx/model(_quantized)?\.onnx(_data)?|export\.json"
)
_ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class About:
    """What the card says in addition.

    Parameters
    ----------
    license : str, optional
        Identifier of a license, such as ``apache-2.0``.
    languages : sequence of str
        Codes such as ``en``.
    datasets : sequence of str
        Names of data sets on the hub that it was trained on.
    """

    license: str | None = None
    languages: Sequence[str] = ()
    datasets: Sequence[str] = ()

    def check(self) -> None:
        """Raise a PetError for values that the hub would not accept."""
        wrong = [f"--license {self.license}"] if self.license and not _WORD.fullmatch(self.license) else []
        wrong += [f"--language {code}" for code in self.languages if not re.fullmatch("[a-z]{2,3}(-[A-Za-z]+)?", code)]
        wrong += [f"--dataset {name}" for name in self.datasets if not _DATA.fullmatch(name)]
        if wrong:
            raise PetError(
                [f"{text}: is not one that the hub knows, such as apache-2.0, en, OWNER/NAME" for text in wrong]
            )

    def values(self) -> dict[str, Any]:
        """Return the metadata of a card."""
        found = {"license": self.license, "language": list(self.languages), "datasets": list(self.datasets)}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Upload:
    """What goes to a repository.

    Attributes
    ----------
    kind : ``model`` or ``dataset``
    files : path in the repository -> local file, or the content
    left_out : files that stay here
    """

    kind: str
    files: Mapping[str, Path | bytes]
    left_out: Sequence[str] = field(default=())

    def sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes."""
        return {
            name: len(source) if isinstance(source, bytes) else source.stat().st_size
            for name, source in self.files.items()
        }


def model_upload(model: str, about: About) -> Upload:
    """Collect the files of a classifier.

    Parameters
    ----------
    model : a student, the run of one, or a folder of `pet export`
    about : more about it for its card

    Raises
    ------
    PetError
        If there is no classifier, or its card is not valid.
    """
    about.check()
    check_place(expand(model))
    folder = classifier_folder(expand(model))
    if not (folder / "config.json").is_file():
        raise PetError(f"{model}: has no classifier; give the folder of a student, a run, or an export")
    check_recorded(folder)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    linked = [name for name, path in names.items() if path.is_symlink()]
    if linked:
        raise PetError(f"{folder}: {', '.join(linked)}: is a link; replace it with the file")
    files: dict[str, Path | bytes] = {name: path for name, path in names.items() if _BELONGS.fullmatch(name)}
    if not any(name.endswith((".safetensors", ".onnx")) for name in files):
        raise PetError(f"{folder}: has no weights (model.safetensors or onnx/model.onnx)")
    if README not in files:
        raise PetError(f"{folder}: has no {README}; it is part of every student, and says what a classifier is for")
    card = names[README].read_text(encoding="utf-8")
    files[README] = described(card, about.values(), str(names[README])).encode("utf-8")
    return Upload("model", files, [name for name in names if name not in files])


def described(card: str, more: Mapping[str, Any], place: str) -> str:
    """Return a card with more metadata, after checking that the hub can read it.

    Raises
    ------
    PetError
        If its metadata is damaged.
    """
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    if match is None:
        raise PetError(f"{place}: does not begin with metadata between two lines of ---; copy the original card")
    data = parse_yaml(match[1].encode("utf-8"), place)
    if not isinstance(data, dict):
        raise PetError(f"{place}: its metadata is not a mapping; copy the original card")
    made = f"{front_matter({**more, **data, **more})}\n{card[match.end() :]}"
    try:
        ModelCard(made)
    except (ValueError, TypeError, KeyError) as error:
        raise PetError(f"{place}: the hub cannot read its metadata ({error}); copy the original card") from error
    return made


def labels_upload(source: str, about: About) -> Upload:
    """Make a data set of soft labels, which ``datasets.load_dataset`` reads. It has no texts.

    Parameters
    ----------
    source : a file of soft labels, a folder of them as `pet label` writes on a cluster, or a run
    about : more about them for the card

    Raises
    ------
    PetError
        If there are no soft labels, or the file has further columns, which may be texts.
    """
    about.check()
    path = _label_place(source)
    table = read_soft_labels(path)
    read = open_source(str(path), "labels")
    kept = further_columns(read, map(str, table.labels))
    if kept:
        raise PetError(
            f"{source}: also has the columns {some(kept)}, which would be sent, too; remove them, or label the "
            "texts again without --keep"
        )
    several = path.is_dir()
    files = {f"data/train-{number:05}{file.suffix.lower()}": file for number, file in enumerate(read.paths)}
    files = files if several else {f"data/train{path.suffix.lower()}": path}
    name, labels = "data/*.parquet" if several else next(iter(files)), [str(label) for label in table.labels]
    card = DatasetCardData(
        language=list(about.languages) or None,
        license=about.license,
        task_categories=["text-classification"],
        source_datasets=list(about.datasets) or None,
        tags=["pet", "soft-labels"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": name}]}],
    )
    body = (
        f"# Soft labels\n\nLabels of {len(table.ids)} texts with their probabilities, made by an ensemble of language "
        "models with `pet` (Pattern-Exploiting Training, arXiv 2001.07676). The texts are not included: match them by "
        "`id`.\n\n## Labels\n\n" + "\n".join(f"- {escape(label)}" for label in labels) + "\n\n## Usage\n\n```python\n"
        'from datasets import load_dataset\n\nlabels = load_dataset("OWNER/NAME", split="train")\n```\n\n'
        "## Limitations\n\nA model made these labels, and some are wrong. The probabilities say how sure it was.\n"
    )
    text = f"{front_matter(card.to_dict())}\n\n{body}"
    return Upload("dataset", {README: text.encode("utf-8"), **files})


def _label_place(source: str) -> Path:
    """Return the file or folder of soft labels that a source names."""
    path = expand(source)
    if is_run(path):
        generation = used_generation(path, read_stages(path), read_settings(path).method)
        path = path / f"g{generation}" / "labels.parquet"
    if path.is_dir() and any(path.glob("*.parquet")):
        return path
    if not path.is_file() or path.suffix.lower() not in _ENDINGS:
        raise PetError(
            f"{source}: has no soft labels; give a run, or a file that `pet label` wrote ({', '.join(_ENDINGS)})"
        )
    return path


def push(upload: Upload, repository: str, *, private: bool = False) -> str:
    """Create a repository if necessary, and send files to it in one commit.

    The address is that of the hub or ``$HF_ENDPOINT``; the token that of ``$HF_TOKEN`` or ``hf auth login``.

    Parameters
    ----------
    upload : what to send
    repository : ``OWNER/NAME``
    private : create a repository that others cannot see

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    PetError
        If the hub refuses or cannot be reached.
    """
    check_repository(repository)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="pet")
    operations = [CommitOperationAdd(name, source) for name, source in upload.files.items()]
    try:
        api.create_repo(repository, repo_type=upload.kind, private=private, exist_ok=True)
        done = api.create_commit(
            repository, operations, repo_type=upload.kind, commit_message="Upload with pet push"
        )  # fmt: skip
    except Exception as error:  # its HTTP library, its own errors, and those of the system
        if isinstance(error, MemoryError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise PetError(
            f"{repository}: the hub did not accept it ({reason}); check the name, the network, and the token "
            "($HF_TOKEN, or hf auth login)"
        ) from error
    return str(done.commit_url)


def check_repository(repository: str) -> None:
    """Raise a PetError for a name that is not OWNER/NAME."""
    if not _REPOSITORY.fullmatch(repository):
        raise PetError(f"{repository}: write the repository as OWNER/NAME, such as someone/news-classifier")
