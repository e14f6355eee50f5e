"""The commands of the page "How do I ...?" run, with a tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from small_run import QUICK, news_rows, pet, write_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-do-i.md"
TEXT = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
COMMANDS = re.findall(r"^ {4}pet (.*)$", TEXT, flags=re.MULTILINE)
SHORT = ["--max-length", "64"]
DEFAULTS = {"run": QUICK, "check": SHORT, "words": SHORT, "init": SHORT}  # options that a tiny model needs


@pytest.fixture(scope="module")
def folder(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the commands name, those of other tasks included."""
    folder = tmp_path_factory.mktemp("how-do-i")
    for path in workplace.iterdir():
        if path.name != "reviews.yaml":  # iPET needs two patterns
            (folder / path.name).symlink_to(path)
    task = (workplace / "reviews.yaml").read_text(encoding="utf-8")
    (folder / "reviews.yaml").write_text(task.replace('"]', '", "{mask}: {text}"]'), encoding="utf-8")
    (folder / "more.jsonl").symlink_to(workplace / "pool.jsonl")
    (folder / "new.csv").write_text("id,text\n1,A good book.\n", encoding="utf-8")
    lines = [
        f"{row['id']},{'positiv' if number % 2 else 'negativ'},Das war gut." for number, row in enumerate(news_rows())
    ]
    (folder / "train.csv").write_text("id,label,text\n" + "\n".join(lines[:8]) + "\n", encoding="utf-8")
    (folder / "pool.csv").write_text("id,text\n1,Das Buch ist gut.\n2,Nie wieder!\n", encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.split(" --")[0])
def test_command_runs(line: str, folder: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    words = shlex.split(line)
    for number, word in enumerate(words):
        if words[number - 1] == "-m":
            words[number] = str(tiny_model)
        elif words[number - 1] == "-o" and number:
            words[number] = str(tmp_path / Path(word).name)
    if words[0] in ("check", "run", "words") and "-m" not in words:  # in place of mini-en
        words += ["-m", str(tiny_model)]
    words += DEFAULTS.get(words[0], [])
    if "agnews" in words:
        news = [
            {"id": row["id"], "headline": "News", "body": row["text"], "label": number % 4}
            for number, row in enumerate(news_rows())
        ]
        for option, rows in {"--train": news[:12], "--test": news[:12], "--unlabeled": news[12:]}.items():
            words[words.index(option) + 1] = str(write_rows(tmp_path / f"{option[2:]}.jsonl", rows))
        words[words.index("--examples") + 1] = "8"
    pet(*words, "-q")
