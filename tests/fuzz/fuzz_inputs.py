"""Inputs for the fuzz targets: sound ones, and changes to them that know the grammar."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import lzma
import random
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from fuzz_exports import FILES, sound_folder
from fuzz_targets import TABLE_FORMATS, parquet_bytes, workbook
from safetensors.numpy import save

_TASK = """\
task: reviews
description: Is the review positive?
fields: [text, title]
labels: [bad, good]
metrics: [accuracy, macro_f1]
label_map: {0: bad, 1: good}
input: "{title} {text}"
verbalizer: &words
  bad: [terrible, awful]
  good: great
patterns:
  - "{text} It was {mask}."
  - "{title|lower_first}! {mask} || {text!keep}"
  - template: "{soft:3} {text} {soft:it is} {mask}"
    verbalizer: *words
members: [head]
"""
_ENSEMBLE = {
    "members": ["p1-r1", "p2-r1"],
    "weights": [0.5, 0.5],
    "scales": ["logits", "log-probabilities"],
    "bias": [0.1, -0.1],
    "merge": "weighted",
}
_MANIFEST = {
    "format": 1,
    "stages": {
        "g0/p1-r1": {
            "state": "done",
            "inputs": "ab" * 32,
            "outputs": {"g0/p1-r1/member.json": [120, "cd" * 32]},
            "seconds": 1.5,
            "peak_memory_bytes": 10**9,
            "versions": {"python": "3.11.7"},
            "info": None,
        },
        "g0/labels": {
            "state": "done",
            "inputs": "ef" * 32,
            "outputs": {"g0/labels.parquet": [1, "00" * 32]},
            "info": _ENSEMBLE,
        },
    },
}
_MEMBER = {
    "kind": "pattern",
    "name": "p1-r1",
    "options": {"pattern": 1, "repetition": 1},
    "scale": "logits",
    "losses": [0.5, None],
    "labeled": 8,
}
_PROMPT = {
    "format": 1,
    "name": "some-prompt",
    "backbone": {"name": "model", "hash": "abc"},
    "shape": [2, 3],
    "kind": "run",
    "tasks": [
        {"task": "reviews", "patterns": [{"template": "{text} {mask}", "verbalizer": {"bad": ["x"], "good": ["y"]}}]}
    ],
    "steps": 3,
    "examples": 8,
    "metrics": {"accuracy": 0.5},
    "origin": {"member": "p1-r1"},
}
_LEARNED = {"backbone": "model", "fingerprint": "abc", "options": {"tuning": "prompt", "prompt_length": 2}}
_TEACHER = {
    "budget": "ab" * 16,
    "kind": "logprobs",
    "top": 20,
    "limit": "max_tokens",
    "examples": [{"fields": ["Fine, I say.", "A title"], "label": 1}],
}
_RULES = {"word": ["great", "money back", "悪い"], "label": ["good", "bad", "bad"]}
_CONFIG = {
    "settings": {
        "task": {
            "task": "reviews",
            "fields": ["text"],
            "labels": ["bad", "good"],
            "verbalizer": {"bad": ["terrible"], "good": ["great"]},
            "patterns": ["{text} It was {mask}."],
        },
        "train": "/data/train.jsonl",
        "unlabeled": None,
        "test": None,
        "model": "mini-en",
        "method": "pet",
        "shots": 10,
        "seed": 0,
        "settings": {"steps": 5, "ratio": "keep", "temperature": "2.5", "restart": True},
        "columns": {"text": "review"},
        "allow_pickle": True,
        "members": ["head"],
        "init_prompt": None,
    },
    "recipe": {"steps": 5, "learning_rate": 1e-05, "merge": "weighted", "soft_targets": False},
    "hashes": {"model": "ab" * 32, "train": "cd" * 32},
}
_COMMANDS = [
    "run\nagnews\n--train\nnone.jsonl\n--method\nipet\n--unlabeled\nnone.csv\n--shots\n10\n--seed\n1\n-m\nnone/model\n-o\nout",
    "run\nagnews\n--set\nsteps=5\n--set\nratio=3,1,1,1\n--workers\n2\n--train\nnone.jsonl\n--tuning\nlora\n-o\nout\n-m\nnone/model",
    "run\nagnews\n--seeds\n3\n--patterns\n1,2\n--member\nhead\n--init-prompt\nmean:3\n--train\nnone.tsv\n-o\nout\n-m\nnone/model",
    "check\nagnews\n--rows\n5\n--column\ntext=body\n--train\nnone.jsonl\n--max-length\n64\n-m\nnone/model",
    "label\nnone-run\n--input\nnone.jsonl\n-o\nlabels.parquet\n--min-confidence\n0.5\n--keep\nurl",
    "predict\nnone-model\n--input\nnone.jsonl\n-o\npredictions.csv\n--device\ncpu",
    "evaluate\nnone-model\n--input\nnone.jsonl\n--task\nagnews",
    "distill\n--labels\nnone.jsonl\n--input\nnone.csv\n--gold-weight\n0.5\n--temperature\n2\n-o\nout\n-m\nnone/model",
    "sample\nagnews\n--input\nnone.csv\n--examples\n8\n-o\nfew.jsonl\n--delimiter\n;\n--encoding\ncp1252",
    "init\nreviews\n--input\nnone.jsonl\n-o\nreviews.yaml",
    "tasks\nagnews",
    "adapt\n--text\nnone.txt\n--epochs\n2\n--batch-tokens\n1000\n-m\nnone/model\n--output\nout\n--repeat\nnone.txt=3",
    "adapt\n--text\nnone.txt\n--layers\n2\n--hidden\n32\n--vocab\n500\n--keep-layers\n0,1\n--output\nout",
    "prompts\nlist\n-l\nnone-library\n--json",
    "prompts\npretrain\n--text\nnone.txt\n--count\n30\n--options\n4\n-m\nnone/model",
    "prompts\nrank\nagnews\n--train\nnone.jsonl\n--by\ncosine\n-m\nnone/model",
]
_ROWS = {"id": ["a", "b", "c"], "text": ["Fine, I say.", 'A "bad" one', "über"], "label": ["good", "bad", "good"]}
_SOFT = {"id": ["a", "b"], "p(bad)": [0.25, 0.5], "p(good)": [0.75, 0.5]}


def _csv(columns: dict[str, list[Any]], delimiter: str) -> bytes:
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    quoted = [['"' + str(cell).replace('"', '""') + '"' for cell in row] for row in rows]
    return "\n".join(map(delimiter.join, quoted)).encode() + b"\n"


def _jsonl(columns: dict[str, list[Any]]) -> bytes:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _tables(columns: dict[str, list[Any]], jsonl: bytes, parquet: bytes) -> list[bytes]:
    contents = [jsonl, _csv(columns, ","), _csv(columns, "\t"), parquet]
    return [bytes([number]) + content for number, content in enumerate(contents[: len(TABLE_FORMATS)])]


def _sources() -> list[bytes]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.table(_ROWS).schema) as arrow:
        arrow.write_table(pa.table(_ROWS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (id, text, label)")
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", zip(*_ROWS.values(), strict=True))
            connection.commit()
        database = path.read_bytes()
    packed = pa.compress(_csv(_ROWS, ","), "zstd", asbytes=True)
    with zipfile.ZipFile(io.BytesIO(workbook())) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
    contents = [sheet, bytes(sink.getvalue()), database, packed, lzma.compress(_jsonl(_ROWS))]
    return [bytes([number]) + content for number, content in enumerate(contents)] + [bytes([130]) + workbook()]


def _arrays() -> bytes:
    """Return what a teacher of two labels keeps beside teacher.json."""
    key = np.array([7], dtype=np.uint64)
    return save({"offset": np.zeros(2), "judged": key, "own_offsets": np.zeros((1, 2)), "skipped": key + key})


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def seeds(target: str) -> list[bytes]:
    """Return sound inputs of a target."""
    soft = [{"id": "a", "probabilities": {"bad": 0.25, "good": 0.75}}, {"id": "b", "probabilities": [0.5, 0.5]}]
    made: dict[str, Callable[[], list[bytes]]] = {
        "task": lambda: [_TASK.encode()],
        "template": lambda: (
            [line.strip(' -"').encode() for line in _TASK.splitlines() if "{mask}" in line and "template" not in line]
            + [b"{soft:3} {text} {{x}} {soft:it is} {mask}", b"{mask}: {title|strip_punct|lower!keep} || {text}"]
        ),
        "table": lambda: _tables(_ROWS, _jsonl(_ROWS), parquet_bytes(_ROWS)),
        "source": _sources,
        "memory": lambda: [_json(_ROWS), b"[" + b",".join(_jsonl(_ROWS).splitlines()) + b"]"],
        "soft_labels": lambda: _tables(
            _SOFT,
            b"".join(json.dumps(row).encode() + b"\n" for row in soft),
            parquet_bytes(
                {"id": ["a", "b"], "probabilities": [[0.25, 0.75], [0.5, 0.5]]}, {"labels": '["bad", "good"]'}
            ),
        ),
        "external": lambda: [
            bytes([1]) + _csv({"id": ["a", "b"], "label": ["good", "bad"]}, ","),
            *seeds("soft_labels"),
        ],
        "documents": lambda: [
            b"\0One line.\n\nAnother document\nof two lines.\n",
            b'\1{"text": "One line."}\n{"text": "Two\\nlines.", "n": 1}\n',
            b"\2One line, packed.\nAnother one.\n",
            b'\3{"text": "One line, packed."}\n{"text": null}\n',
        ],
        "manifest": lambda: [_json(_MANIFEST)],
        "config": lambda: [yaml.safe_dump(_CONFIG, sort_keys=False).encode()],
        "member": lambda: [_json(_MEMBER)],
        "teacher": lambda: [_json(_TEACHER) + b"\0" + _arrays()],
        "rules": lambda: _tables(_RULES, _jsonl(_RULES), parquet_bytes(_RULES)),
        "exported": lambda: [
            bytes([number]) + (sound_folder() / name).read_bytes() for number, name in enumerate(FILES)
        ],
        "classifier": lambda: [_json({"fields": ["text", "title"], "input": "{title}: {text}"})],
        "prompt_library": lambda: [_json(_PROMPT) + b"\0" + _json(_LEARNED)],
        "options": lambda: [command.encode() for command in _COMMANDS],
    }
    return made[target]()


# ---- changes ---------------------------------------------------------------------------------------

_NUMBERS = [
    *("0", "-1", "1", "2", "1.5", "1e308", "1e999", "-0.0", "nan", "NaN", "inf", "-Infinity", "1e-320", "0x1F", "0b_"),
    *("2147483648", "9223372036854775808", "99999999999999999999", "9" * 400, "9" * 5000, "1_000", "190:20:30", "٣"),
]
_WORDS = [
    *(
        "",
        "null",
        "true",
        "yes",
        "~",
        "[]",
        "{}",
        "- x",
        "? y",
        "<<",
        "*words",
        "&words",
        "!!python/name:os.system",
        "!x",
    ),
    *(
        "2001-99-99",
        "2001-01-01",
        "{mask}",
        "{text}",
        "{{",
        "}}",
        "||",
        "{soft:9}",
        "{text|",
        "{text!keep}",
        "{mask:3}",
    ),
    *(
        "../../x",
        "/etc/passwd",
        "C:\\x",
        ".",
        "..",
        "a/b",
        "hub:x/y",
        "\ufeff",
        "\u202e",
        "\x1b[31m",
        "\u0000",
        "\ud800",
    ),
    *(
        "\u2028",
        "\r",
        "\r\n",
        "\t",
        '"',
        "'",
        '""',
        "#",
        ": ",
        ", ",
        ",,",
        "|",
        "=",
        "@x",
        "%TAG ! x",
        "---",
        "...",
        "e\u0301",
    ),
    *("--set", "steps=9", "ratio=x", "--workers", "--seed", "--column", "text=", "--member", "x=head", "external:none"),
]
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_BYTES = [b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x80", b"\n", b"\r", b'"', b",", b"\t", b"PAR1", b"{", b"["]


def mutate(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Return a changed input: of its values, its words, or its bytes."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        kind = draw.random()
        change = _change_values if kind < 0.35 else _change_words if kind < 0.8 else _change_bytes
        data = change(data, others, draw)
    return data[:200_000]


def _change_words(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    words = _TOKEN.findall(data.decode("utf-8", "surrogateescape"))
    if not words:
        return draw.choice(_WORDS).encode("utf-8", "surrogatepass")
    place = draw.randrange(len(words))
    kind = draw.randrange(7)
    if kind == 0:
        digits = [i for i, word in enumerate(words) if word.isdigit()]
        words[draw.choice(digits or [place])] = draw.choice(_NUMBERS)
    elif kind == 1:
        words[place] = draw.choice(_WORDS)
    elif kind == 2:
        words.insert(place, draw.choice(_WORDS + _NUMBERS))
    elif kind == 3:
        del words[place : place + draw.choice((1, 1, 2, 5, 20))]
    elif kind == 4:
        end = place + draw.choice((1, 3, 10, 50))
        words[place:place] = words[place:end] * draw.choice((1, 2, 50))
    elif kind == 5:
        other = draw.randrange(len(words))
        words[place], words[other] = words[other], words[place]
    else:
        words[place] = draw.choice(("[", "{", "- ", "(", '{"a":', "&a [*a, ")) * draw.choice((2, 60, 400, 3000))
    return "".join(words).encode("utf-8", "surrogatepass" if draw.random() < 0.1 else "replace")


def _change_bytes(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    kind = draw.randrange(6)
    if kind == 0 and data:
        flipped = bytearray(data)
        flipped[place % len(data)] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    if kind == 1:
        return data[:place] + draw.choice(_BYTES) + data[place:]
    if kind == 2:
        return data[:place] + data[place + draw.choice((1, 4, 30)) :]
    if kind == 3:
        return data[:place]
    if kind == 4:
        other = draw.choice(others)
        return data[:place] + other[draw.randrange(len(other) + 1) :]
    return data[:place] + draw.randbytes(draw.choice((1, 4, 16))) + data[place:]


def _change_values(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Change the tree of a JSON or YAML document; of other inputs the words."""
    head, zero, tail = data.partition(b"\0")
    if zero and draw.random() < 0.5:
        return head + zero + _change_values(tail, others, draw)
    try:
        tree = json.loads(head)
        dump: Callable[[Any], str] = json.dumps
    except (ValueError, RecursionError):
        try:
            tree = yaml.safe_load(head.decode()) if len(head) < 5000 and b"*" not in head else None
            dump = yaml.safe_dump
        except (ValueError, yaml.YAMLError, RecursionError):
            tree = None
    if not isinstance(tree, (dict, list)):
        return _change_words(data, others, draw)
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return data
    inside, key = draw.choice(places)
    if draw.random() < 0.2:
        del inside[key]
    elif draw.random() < 0.2:
        other, name = draw.choice(places)
        inside[key] = copy.deepcopy(other[name])
    else:
        inside[key] = _odd_value(inside[key], draw)
    try:
        return dump(tree).encode("utf-8", "surrogatepass") + zero + tail
    except (ValueError, TypeError, yaml.YAMLError, RecursionError):
        return data


def _odd_value(value: Any, draw: random.Random) -> Any:
    text = draw.choice(_WORDS + _NUMBERS)
    deep: Any = text
    for _ in range(draw.choice((1, 3, 60))):
        deep = [deep] if draw.random() < 0.5 else {text: deep}
    odd: list[Any] = [None, True, -1, 0, 1, 2, 10**12, 10**30, 0.5, 1e308, float("nan"), float("inf"), "", text, [], {}]
    odd += [deep, [value], {"x": value}, f"{value}{text}"[:10_000], [value, value]]
    return draw.choice(odd)


def _places(tree: Any, depth: int = 0) -> Any:
    if depth > 30:
        return
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key], depth + 1)
