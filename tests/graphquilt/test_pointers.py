"""CURRENT and its history: whatever happens to the two files, the last swap counts, or nothing does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphquilt.json_checksum import add_checksum, has_valid_checksum
from graphquilt.pointers import CURRENT, HISTORY, PointerError, Swap, read_pointers


def swap_to(sequence: int, release: str | None = None, why: str = "publish") -> Swap:
    release = release or f"r{sequence}"
    return Swap(sequence, "2024-06-01T00:00:00+00:00", why, release, f"releases/{release}", "2024-06-01", 1, "0" * 64)


OPENED = Swap(0, "2024-06-01T00:00:00+00:00", "opened", "", "", "", 0, "")


def write(folder: Path, history: list[Swap], current: Swap | None) -> None:
    for swap in history:
        if swap.release:
            (folder / "releases" / swap.release).mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(swap.to_json()) + "\n" for swap in history)
    (folder / HISTORY).write_text(text)
    if current:
        (folder / CURRENT).write_text(json.dumps(current.to_json(), indent=2))


def usual(folder: Path, swaps: int = 3) -> list[Swap]:
    history = [OPENED, *(swap_to(n) for n in range(1, swaps + 1))]
    write(folder, history, history[-1])
    return history


@given(data=st.data())
def test_one_damaged_byte_anywhere_changes_no_answer(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("name")
    history = usual(folder, data.draw(st.integers(1, 4)))
    path = folder / data.draw(st.sampled_from([CURRENT, HISTORY]))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    assert read_pointers(folder).at == history[-1]


@given(data=st.data())
def test_a_file_cut_anywhere_changes_no_answer(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("name")
    history = usual(folder, data.draw(st.integers(1, 4)))
    path = folder / data.draw(st.sampled_from([CURRENT, HISTORY]))
    raw = path.read_bytes()
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    assert read_pointers(folder).at == history[-1]


@given(data=st.data())
def test_both_files_damaged_are_never_a_first_night(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("name")
    history = usual(folder, 3)
    (folder / CURRENT).unlink()
    raw = bytearray((folder / HISTORY).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / HISTORY).write_bytes(raw)
    try:
        found = read_pointers(folder)
    except PointerError:
        return
    # What stands before the damaged line is not the last swap: only a line that was never finished is passed over.
    is_unfinished = not raw.endswith(b"\n")
    assert found.at == history[-1] or (is_unfinished and found.at == history[-2])
    assert f"{folder / CURRENT} is missing" in (found.problem or "")


@pytest.mark.parametrize(
    "damage", ["delete", "empty", "zeros", "text", "list", "nested", "other object", "old", "unsealed"]
)
def test_a_damaged_or_foreign_current_is_the_last_swap_with_a_word(tmp_path: Path, damage: str) -> None:
    history = usual(tmp_path)
    path = tmp_path / CURRENT
    content = {
        "empty": b"",
        "zeros": bytes(path.stat().st_size),
        "text": b"see the wiki",
        "list": b"[1, 2]",
        "nested": b"[" * 100_000,
        "other object": json.dumps(add_checksum({"release": "r1"})).encode(),
        "old": json.dumps(history[1].to_json()).encode(),
        "unsealed": json.dumps({k: v for k, v in history[1].to_json().items() if k != "checksum"}).encode(),
    }
    path.unlink()
    if damage != "delete":
        path.write_bytes(content[damage])
    found = read_pointers(tmp_path)
    assert found.at == history[-1]
    assert "r3" in (found.problem or "")


def test_a_swap_whose_line_is_written_counts_before_current_is(tmp_path: Path) -> None:
    history = usual(tmp_path)
    write(tmp_path, [*history, swap_to(4)], history[-1])
    found = read_pointers(tmp_path)
    assert (found.at, found.problem) == (swap_to(4), None)


def test_a_line_that_was_never_finished_is_none(tmp_path: Path) -> None:
    history = usual(tmp_path)
    line = json.dumps(swap_to(4).to_json())
    with (tmp_path / HISTORY).open("a") as file:
        file.write(line[: len(line) // 2])
    found = read_pointers(tmp_path)
    assert (found.at, found.problem) == (history[-1], None)


def test_a_history_that_is_gone_or_behind_leaves_a_sound_current(tmp_path: Path) -> None:
    history = usual(tmp_path)
    write(tmp_path, history[:-1], history[-1])
    assert read_pointers(tmp_path).at == history[-1]
    (tmp_path / HISTORY).unlink()
    found = read_pointers(tmp_path)
    assert found.at == history[-1]
    assert found.problem == f"{tmp_path / HISTORY} is missing"


def test_a_current_of_another_workspace_is_not_followed(tmp_path: Path) -> None:
    history = usual(tmp_path)
    (tmp_path / CURRENT).write_text(json.dumps(swap_to(9, "elsewhere").to_json()))
    assert read_pointers(tmp_path).at == history[-1]


def test_a_name_without_any_release_is_a_first_night(tmp_path: Path) -> None:
    assert read_pointers(tmp_path).at is None
    write(tmp_path, [OPENED], None)
    assert read_pointers(tmp_path).at is None
    (tmp_path / "releases" / "r1").mkdir(parents=True)  # moved in, and killed before the first swap
    assert read_pointers(tmp_path).at is None


def test_releases_without_any_pointer_are_no_first_night(tmp_path: Path) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    with pytest.raises(PointerError, match=r"is missing, and .*holds no swap"):
        read_pointers(tmp_path)
    (tmp_path / HISTORY).write_text("")
    with pytest.raises(PointerError, match="holds no swap"):
        read_pointers(tmp_path)
    write(tmp_path, [OPENED], None)
    (tmp_path / CURRENT).write_text("{}")
    with pytest.raises(PointerError, match=r"is damaged, and .*holds no swap"):
        read_pointers(tmp_path)


def test_a_pointer_from_before_there_was_a_history_is_followed(tmp_path: Path) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    old = {
        name: value for name, value in swap_to(1).to_json().items() if name not in ("sequence", "at", "why", "checksum")
    }
    (tmp_path / CURRENT).write_text(json.dumps(old))
    found = read_pointers(tmp_path)
    assert found.at is not None
    assert (found.at.target, found.problem) == (swap_to(1).target, None)
    for wrong in ({"data_date": "2024-13-01"}, {"data_date": "today"}, {"contract_version": None}):
        (tmp_path / CURRENT).write_text(json.dumps(old | wrong))
        with pytest.raises(PointerError, match="is damaged"):
            read_pointers(tmp_path)


@pytest.mark.parametrize("release", ["../r1", "/etc", "a/b", ".."])
def test_a_pointer_stays_in_its_folder(tmp_path: Path, release: str) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / CURRENT).write_text(json.dumps(swap_to(1, release).to_json()))
    with pytest.raises(PointerError, match="is damaged"):
        read_pointers(tmp_path)


@pytest.mark.parametrize("name", [CURRENT, HISTORY])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_was_put_in_a_file_s_place_is_named(tmp_path: Path, name: str, kind: str) -> None:
    usual(tmp_path)
    path, aside = tmp_path / name, tmp_path / "aside"
    path.rename(aside)
    if kind == "link":
        path.symlink_to(aside)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    words = {"link": "a symbolic link to .*aside", "folder": "a folder", "pipe": "a named pipe"}[kind]
    with pytest.raises(PointerError, match=rf"{name} is {words}, and a file of the workspace's own is wanted"):
        read_pointers(tmp_path)


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.none(), max_size=4))
def test_a_seal_breaks_with_any_change(value: dict[str, object]) -> None:
    whole = json.loads(json.dumps(add_checksum(value)))
    assert has_valid_checksum(whole)
    assert not has_valid_checksum({**whole, "more": 1})
    for name in set(whole) - {"checksum"}:
        assert not has_valid_checksum({**whole, name: [whole[name]]})
