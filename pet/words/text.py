"""Found words as text and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pet.report.tables import text_table
from pet.task.task import Task
from pet.words.find import WordGroup

_LACKING = "no words found; add labeled texts of this label, or say what it means under `descriptions` in the task file"


def words_text(task: Task, groups: Sequence[WordGroup]) -> str:
    """Return a ranked table for each group of patterns that share words."""
    parts = []
    for group in groups:
        several = len(group.patterns) > 1
        which = f"pattern{'s' * several} {', '.join(str(position + 1) for position in group.patterns)}"
        header = ["label", "word", "score", *(f"p{p + 1}" for p in group.patterns if several), "in texts"]
        rows: list[list[object]] = []
        for label, words in group.words.items():
            rows += [] if words else [[label, "(none)", *[""] * (len(header) - 2)]]
            for rank, found in enumerate(words):
                scores = [found.score, *(found.patterns if several else ())]
                rows.append(["" if rank else label, found.word, *(f"{score:.2f}" for score in scores), found.count])
        sources = [f"  {p + 1}: {task.patterns[p].template.source}" for p in group.patterns]
        lacking = {label: _LACKING for label, words in group.words.items() if not words}
        notes = [f"{label}: {note}" for label, note in {**group.notes, **lacking}.items()]
        parts.append("\n".join([f"{which}:", *sources, text_table(rows, header), *notes]))
    return "\n\n".join(parts)


def words_dict(task: Task, model: str, groups: Sequence[WordGroup]) -> dict[str, Any]:
    """Return the found words as plain values, for JSON. Patterns are counted from 1."""
    return {
        "task": task.name,
        "model": model,
        "groups": [
            {
                "patterns": [position + 1 for position in group.patterns],
                "labels": {
                    label: {
                        "guess": group.notes.get(label, ""),
                        "words": [
                            {
                                "word": found.word,
                                "score": found.score,
                                "patterns": list(found.patterns),
                                "count": found.count,
                            }
                            for found in words
                        ],
                    }
                    for label, words in group.words.items()
                },
            }
            for group in groups
        ],
    }
