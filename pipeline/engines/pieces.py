"""Pieces of a frame: what one task can make by itself, as plans of :mod:`pipeline.engines.relay`, with their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.engines.parquet import ParquetRowGroup, row_groups


class Sized(Protocol):
    """What takes some memory."""

    @property
    def bytes(self) -> int:
        """Decoded bytes."""
        ...


_Sized = TypeVar("_Sized", bound=Sized)


@dataclass(frozen=True)
class BatchSlice:
    """A batch in a file of slices."""

    file: str
    batch: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class FramePiece:
    """A plan, and bounds on its rows."""

    plan: Mapping[str, Any]
    rows: int
    bytes: int  # decoded

    def with_step(self, verb: str, arguments: Mapping[str, Any], width: int = 0) -> FramePiece:
        """Return the piece with one more step, which adds ``width`` bytes to a row."""
        steps = [*self.plan["steps"], [verb, arguments]]
        return replace(self, plan={**self.plan, "steps": steps}, bytes=self.bytes + width * self.rows)


def pieces_of_files(files: Sequence[Path], columns: Sequence[str], most: int) -> list[FramePiece]:
    """Return pieces of up to ``most`` bytes of some columns of Parquet files, cut between row groups."""
    return [
        FramePiece(plan([{"runs": _runs(pack)}], columns), sum(group.rows for group in pack), total_bytes(pack))
        for pack in group_by_bytes(list(row_groups(files, columns)), most)
    ]


def piece_of_slices(slices: Sequence[BatchSlice], columns: Sequence[str]) -> FramePiece:
    """Return the rows of slices as one piece."""
    source = {"slices": [[one.file, one.batch] for one in slices]}
    return FramePiece(plan([source], columns), sum(one.rows for one in slices), total_bytes(slices))


def plan(sources: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """Return the plan of all rows of sources, in order."""
    return {"union": list(sources), "columns": list(columns), "steps": []}


def concat_pieces(pieces: Sequence[FramePiece], columns: Sequence[str]) -> FramePiece:
    """Return the rows of several pieces as one."""
    rows = sum(piece.rows for piece in pieces)
    return FramePiece(plan([piece.plan for piece in pieces], columns), rows, total_bytes(pieces))


def total_bytes(pieces: Sequence[Sized]) -> int:
    """Return what pieces take together."""
    return sum(piece.bytes for piece in pieces)


def group_by_bytes(pieces: Sequence[_Sized], most: int) -> list[list[_Sized]]:
    """Put neighbours together up to so many bytes."""
    packs: list[list[_Sized]] = []
    size = 0
    for piece in pieces:
        if not packs or size + piece.bytes > most:
            packs.append([])
            size = 0
        packs[-1].append(piece)
        size += piece.bytes
    return packs


def _runs(groups: Sequence[ParquetRowGroup]) -> list[list[Any]]:
    """Return [file, first row, rows], neighbouring row groups as one."""
    runs: list[list[Any]] = []
    for group in groups:
        if runs and runs[-1][0] == str(group.file):
            runs[-1][2] += group.rows
        else:
            runs.append([str(group.file), group.first, group.rows])
    return runs
