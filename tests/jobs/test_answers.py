"""Tables in answers for people."""

from rich.cells import cell_len

from jobs.answers import columns


def test_columns_stand_under_each_other_whatever_room_letters_take() -> None:
    rows = [("id", "score", "by"), ("東京タワー", "0.5", "dot"), ("café", "12.25", "cosine"), ("", "", "")]
    lines = columns(rows)
    assert lines[0] == "  id          score  by"
    assert lines[3] == ""
    starts = [
        {cell_len(line[: line.index(row[at])]) for row, line in zip(rows[:3], lines, strict=False)} for at in (0, 1, 2)
    ]
    assert [*map(len, starts)] == [1, 1, 1]
    assert columns([]) == []
