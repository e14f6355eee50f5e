"""Outputs are checked before work begins, and folders appear and are replaced in whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pet.errors import PetError
from pet.store import outputs
from pet.store.outputs import check_new_folder, check_output, put_in_place, restore_folder, writing_folder


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_an_existing_file_needs_force_and_a_device_does_not(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert check_output(path, [".jsonl"]) == path
    path.write_text("mine")
    with pytest.raises(PetError, match=r"x\.jsonl.*--force"):
        check_output(path, [".jsonl"])
    assert check_output(path, [".jsonl"], force=True) == path
    link = tmp_path / "null.jsonl"
    link.symlink_to(os.devnull)
    assert check_output(link, [".jsonl"]) == link


def test_the_endings_are_named(tmp_path: Path) -> None:
    with pytest.raises(PetError, match=r"name the file with the ending \.json$"):
        check_output(tmp_path / "x.txt", [".json"])
    with pytest.raises(PetError, match=r"one of the endings \.csv, \.json$"):
        check_output(tmp_path / "x.txt", [".csv", ".json"])


@pytest.mark.parametrize("force", [False, True])
def test_the_input_is_never_an_output(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("mine")
    (tmp_path / "link.jsonl").hardlink_to(path)
    with pytest.raises(PetError, match="input"):
        check_output(tmp_path / "link.jsonl", [".jsonl"], str(path), force)
    with pytest.raises(PetError, match="input"):  # it would be read as a part of the folder
        check_output(tmp_path / "part.parquet", [".parquet"], str(tmp_path), force)


def test_a_folder_is_replaced_only_with_force_and_only_if_replaceable(tmp_path: Path) -> None:
    mine = folder_with(tmp_path / "x", "mine")
    for force, replaceable in ((False, False), (False, True), (True, False)):
        with pytest.raises(PetError, match=str(mine)) as caught:
            check_new_folder(mine, force=force, replaceable=lambda _, known=replaceable: known)
        assert ("--force" in str(caught.value)) == replaceable
    assert check_new_folder(mine, force=True, replaceable=lambda _: True) == mine
    assert check_new_folder(tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    with pytest.raises(PetError, match="file"):
        check_new_folder(mine / "file")


def test_a_failed_write_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    mine = folder_with(tmp_path / "x", "old")
    with pytest.raises(RuntimeError), writing_folder(mine, replace=True) as beside:
        (beside / "file").write_text("new")
        raise RuntimeError
    with pytest.raises(PetError, match=str(mine)), writing_folder(mine) as beside:  # it was empty when it was checked
        (beside / "file").write_text("new")
    assert (mine / "file").read_text() == "old" and list(tmp_path.iterdir()) == [mine]
    with writing_folder(mine, replace=True) as beside:
        (beside / "file").write_text("new")
    assert (mine / "file").read_text() == "new" and list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_process_killed_while_it_replaces_a_folder_leaves_one_whole(tmp_path: Path, step: int) -> None:
    """Killed after the old folder was renamed (1 rename), or after the new one was (2)."""
    mine, made = folder_with(tmp_path / "x", "old"), folder_with(tmp_path / "made", "new")
    program = f"""
import os
from pathlib import Path
from pet.store import outputs
rename, done = os.replace, []
def counted(*paths):
    if len(done) == {step}:
        os._exit(9)
    rename(*paths)
    done.append(paths)
outputs.os.replace = counted
outputs.remove = lambda path: os._exit(9) if len(done) == {step} else None
outputs.put_in_place(Path({str(made)!r}), Path({str(mine)!r}), replace=True)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    restore_folder(mine)
    assert (mine / "file").read_text() == ("old" if step < 2 else "new")
    assert not list(tmp_path.glob(f"{outputs.REPLACED}*"))


def test_a_rename_that_fails_gives_the_old_folder_its_name_back(tmp_path: Path) -> None:
    mine = folder_with(tmp_path / "x", "old")
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "missing", mine, replace=True)
    assert (mine / "file").read_text() == "old" and list(tmp_path.iterdir()) == [mine]
