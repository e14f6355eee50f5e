"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from pet.data.source import Source, first_line
from pet.errors import PetError


def parse_hub(text: str) -> tuple[str, str | None, str | None]:
    """Split `hub:OWNER/NAME[:CONFIG][@SPLIT]` into path, config and split."""
    rest, _, split = text.removeprefix("hub:").partition("@")
    path, _, config = rest.partition(":")
    return path, config or None, split or None


def open_hub(text: str, name: str) -> Source:
    """Load (or find in the cache) a data set of the hub.

    Raises
    ------
    PetError
        If it cannot be had, or several splits are there and none is named.
    """
    import datasets

    path, config, split = parse_hub(text)
    if not path:
        raise PetError(f"{name}: {text}: names no data set; write hub:OWNER/NAME[:CONFIG][@SPLIT]")
    try:
        loaded = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # the network libraries below raise kinds of their own
        raise PetError(
            f"{name}: {text}: could not be loaded ({type(error).__name__}: {first_line(error)}); "
            "check the name, config and split and the network, or download it elsewhere and name the file"
        ) from None
    if isinstance(loaded, dict):
        if len(loaded) != 1:
            raise PetError(
                f"{name}: {text}: has the splits {', '.join(map(str, loaded))}; choose one: {text}@{next(iter(loaded))}"
            )
        loaded = next(iter(loaded.values()))
    if not isinstance(loaded, datasets.Dataset):
        raise PetError(f"{name}: {text}: is a {type(loaded).__name__}, not a table of rows; name one split")
    if not len(loaded):
        raise PetError(f"{name}: {text}: is empty; it needs at least one example")
    names = {
        column: tuple(feature.names)
        for column, feature in loaded.features.items()
        if isinstance(feature, datasets.ClassLabel) and feature.names
    }
    return Source("hub", text, dataset=loaded, class_names=names)
