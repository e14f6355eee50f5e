"""Data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pet.data.source import Source, first_line
from pet.errors import PetError


def parse_hub(text: str) -> tuple[str, str | None, str | None]:
    """Split ``hub:OWNER/NAME[:CONFIG][@SPLIT]`` into path, config and split.

    Examples
    --------
    >>> parse_hub("hub:fancyzhx/ag_news@train")
    ('fancyzhx/ag_news', None, 'train')
    """
    rest, _, split = text.removeprefix("hub:").partition("@")
    path, _, config = rest.partition(":")
    return path, config or None, split or None


def open_hub(text: str, name: str) -> Source:
    """Load a data set from the hub or its local cache.

    Raises
    ------
    PetError
        If it cannot be loaded, or has several splits and none is named.
    """
    import datasets

    from pet.compat import no_code
    from pet.network import cached_if_cut_off, hub_host

    path, config, split = parse_hub(text)
    if not path:
        raise PetError(f"{name}: {text}: names no data set; write hub:OWNER/NAME[:CONFIG][@SPLIT]")
    with cached_if_cut_off() as alone:
        try:
            loaded = datasets.load_dataset(path, config, split=split, **no_code())
        except Exception as error:  # network libraries raise exceptions of their own
            if alone:
                raise PetError(
                    f"{name}: {text}: was not downloaded before, and {hub_host()} cannot be reached; check the name "
                    "and the network, or download it elsewhere and name the file"
                ) from None
            raise PetError(
                f"{name}: {text}: could not be loaded ({type(error).__name__}: {first_line(error)}); "
                "check the name, config, split and network, or download it elsewhere and name the file"
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
        raise PetError(f"{name}: {text}: is empty; it needs at least one row")
    return Source("hub", text, dataset=loaded, class_names=class_names(loaded.features))


def class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the columns whose integers stand for names, and these names."""
    return {
        column: tuple(feature.names)
        for column, feature in features.items()
        if type(feature).__name__ == "ClassLabel" and feature.names
    }
