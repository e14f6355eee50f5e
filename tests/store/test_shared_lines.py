"""A file that several processes append to, and that survives a kill at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.errors import PetError
from pet.store.shared_lines import SharedLines

WRITER = """
import sys
from pathlib import Path
from pet.store.shared_lines import SharedLines
lines = SharedLines(Path(sys.argv[1]))
for number in range(25):
    with lines.exclusive():
        lines.append(['{"id": "%s-%d", "more": "%s"}' % (sys.argv[2], number, "x" * 3000)])
"""


def add(path: Path, *lines: str) -> None:
    shared = SharedLines(path)
    with shared.exclusive():
        shared.append(lines)


def test_lines_of_others_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first, second = SharedLines(path), SharedLines(path)
    assert first.read() == []
    with second.exclusive():
        second.append(['{"id": "a"}', '{"id": "\u2028é"}'])
    assert first.read() == second.read() == [(1, '{"id": "a"}'), (2, '{"id": "\u2028é"}')]
    with first.exclusive():
        first.append(['{"id": "b"}'])
    assert second.read() == [(3, '{"id": "b"}')]
    assert second.read() == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_a_file_cut_anywhere_loses_at_most_its_last_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int, crlf: bool
) -> None:
    path = tmp_path_factory.mktemp("cut") / "log.jsonl"
    rows = [json.dumps({"id": f"é{i}", "note": "{}" * i}, ensure_ascii=False) for i in range(8)]
    content = "".join(row + ("\r\n" if crlf else "\n") for row in rows).encode()
    kept = content[: cut % (len(content) + 1)]
    path.write_bytes(kept)
    add(path, '{"id": "new"}')
    complete = [row for row in rows if row.encode() in kept.replace(b"\r", b"").split(b"\n")]
    assert [text for _, text in SharedLines(path).read()] == [*complete, '{"id": "new"}']


def test_the_last_line_of_a_file_that_has_no_json_is_kept(tmp_path: Path) -> None:
    table = tmp_path / "next.csv"
    table.write_text("id,label\na,bug\nb,login")
    with pytest.raises(PetError, match=r"next\.csv: its last line is not JSON"):
        add(table, '{"id": "new"}')
    assert table.read_text() == "id,label\na,bug\nb,login"


def test_two_processes_do_not_tear_each_other_s_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    names = [json.loads(text)["id"] for _, text in SharedLines(path).read()]
    assert len(names) == 50
    for writer in "ab":
        assert [name for name in names if name[0] == writer] == [f"{writer}-{i}" for i in range(25)]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    add(path, '{"id": "a"}')
    write = os.write

    def half(descriptor: int, content: bytes) -> int:
        if len(content) < 10:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[: len(content) - 5])

    shared = SharedLines(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(PetError, match=r"log\.jsonl.*disk is full"), shared.exclusive():
            shared.append(['{"id": "bbbbbbbbbbbbb"}'])
    assert path.read_text() == '{"id": "a"}\n'


def test_links_and_replaced_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("keep\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(PetError, match=r"link\.jsonl.*link"):
        add(tmp_path / "link.jsonl", "{}")
    assert (tmp_path / "other").read_text() == "keep\n"
    path = tmp_path / "log.jsonl"
    add(path, '{"id": "a"}')
    shared = SharedLines(path)
    shared.read()
    path.write_text("")
    with pytest.raises(PetError, match="replaced"):
        shared.read()
