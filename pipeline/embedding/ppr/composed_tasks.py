"""Tasks of lists over parts: weigh the rows, push and exchange, rank, and join what the parts have ranked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import neighbors_of, offsets_of, read_slice
from pipeline.embedding.ppr.asked import ListsAsked, candidates_for
from pipeline.embedding.ppr.composed_part import Part, SourceRows
from pipeline.embedding.ppr.lists import rounded_up, table_of_lists, with_rounding
from pipeline.embedding.ppr.mass_files import (
    HELD,
    KNOWN,
    RANKED,
    SENT,
    MassFiles,
    batches_by_place,
    batches_of,
    lists_batch,
)
from pipeline.kernels.merged_lists import merge_lists
from pipeline.kernels.ppr_part_passes import ArrivedMass, HeldMass, PartScratch, PartWalk
from pipeline.kernels.ppr_parts import PushResult, push_part, settle_part, weight_of_rows
from pipeline.kernels.ppr_top_k import SparseScores, top_k_of_rows
from pipeline.kernels.ranking import NO_ROW
from pipeline.storage import BATCHES
from pipeline.storage.batch_files import batch_writer
from pipeline.tasks import Attempt
from schemas.tables import NEIGHBOR_LISTS

_WEIGHTS = pa.schema([pa.field("weight", pa.float64(), nullable=False)])


def weigh_part(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: what the rows of a part weigh here, those at home elsewhere by home.

    Float32 weights are added as the push will use them, so that a push sends on all that it takes, and no more.
    """
    part = _part_of(payload)
    block = part.block
    weight = weight_of_rows(block.indptr, block.edge_weight)
    storage.write_arrow(attempt.path("weights", "arrow"), pa.Table.from_arrays([pa.array(weight)], schema=_WEIGHTS))
    with batch_writer(attempt.path("shared", BATCHES), _WEIGHTS) as writer:
        for rows in part.away:
            writer.write_batch(pa.record_batch([pa.array(weight[rows])], schema=_WEIGHTS))
    return {"weight": float(weight.sum()), "home_rows": int(part.is_home.sum())}


def push_round(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: take in what other parts sent, push until no home row has more than may wait, and send out.

    The first one starts the sources at home here and, if lists leave known nodes out, says which edges are here.
    """
    part = _part_of(payload)
    walk, asked = _walk_of(part, payload), ListsAsked.from_json(payload["asked"])
    threshold = float(payload["threshold"])
    held, inbox = _Held(payload["held"]), _Inbox(part, payload["inbox"])
    batches = batches_of(int(payload["count"]), int(payload["at_once"]))
    found = SourceRows.find(Path(payload["sources"]), part)
    started = found.at_home(part)
    scratch = PartScratch.of(walk.rows)
    sent = np.zeros(len(part.places), np.int64)
    entries = kept = 0
    with (
        batch_writer(attempt.path("held", BATCHES), HELD) as held_writer,
        batch_writer(attempt.path("sent", BATCHES), SENT) as sent_writer,
    ):
        for number, (first, stop) in enumerate(batches):
            if payload["is_first"]:
                arrived = _started(stop - first, *started.between(first, stop))
            else:
                arrived = inbox.of(number, first, stop)
            known = held.of(number, first, stop) if arrived.mass.size else _nothing_held(stop - first)
            done = push_part(walk, asked.ppr.restart, threshold, known, arrived, scratch)
            held_writer.write_batch(_held_batch(first, done))
            columns: list[NDArray[Any]] = [done.sent.position, done.sent.mass]
            for batch in batches_by_place(SENT, first, done.sent.indptr, done.sent.place, columns, len(part.places)):
                sent_writer.write_batch(batch)
            sent += np.bincount(done.sent.place, minlength=sent.size)
            entries += done.entries
            kept += done.held.row.size
    if payload["is_first"] and asked.ppr.exclude_known:
        _write_known(part, found, batches, attempt.path("known", BATCHES))
    return {
        "place": part.place,
        "sent": {str(place): int(sent[place]) for place in np.flatnonzero(sent)},
        "entries": entries,
        "held_rows": kept,
        "largest_strength": _largest_strength(part, walk, asked),
    }


def _write_known(part: Part, found: SourceRows, batches: list[tuple[int, int]], file: Path) -> None:
    """Tell the homes of sources' neighbours of the edges stored here."""
    home, position = part.homes
    with batch_writer(file, KNOWN) as writer:
        for first, stop in batches:
            source, near = neighbors_of(part.block.indptr, part.block.neighbor, *found.between(first, stop))
            is_away = home[near] >= 0
            indptr = np.searchsorted(source[is_away], np.arange(stop - first + 1))
            there = near[is_away]
            for batch in batches_by_place(KNOWN, first, indptr, home[there], [position[there]], len(part.places)):
                writer.write_batch(batch)


def rank_part(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the best home rows of a part for each source, as lists may hold them, and what is missing there."""
    part = _part_of(payload)
    asked = ListsAsked.from_json(payload["asked"])
    block = part.block
    span = block.rows_between(*asked.targets)
    length = min(asked.ppr.top_k, max(1, span[1] - span[0]))
    held = _Held(payload["held"])
    known = _Known(part, payload["known"])
    found = SourceRows.find(Path(payload["sources"]), part)
    scratch = PartScratch.of(block.node_ix.size)
    with batch_writer(attempt.path("ranked", BATCHES), RANKED) as writer:
        for number, (first, stop) in enumerate(batches_of(int(payload["count"]), int(payload["at_once"]))):
            scores = SparseScores(*settle_part(asked.ppr.restart, held.of(number, first, stop), scratch))
            source, row = found.between(first, stop)
            pairs: list[tuple[NDArray[np.int64], NDArray[np.integer]]] = [(source, row)]
            if asked.ppr.exclude_known:
                pairs += [neighbors_of(block.indptr, block.neighbor, source, row), *known.of(number, first, stop)]
            left_out = candidates_for(asked, span, block.degree, pairs, stop - first)
            rows, best = top_k_of_rows(scores, left_out, length)
            is_listed = rows != NO_ROW
            indptr = offsets_of(is_listed.sum(axis=1))
            columns = [block.node_ix[rows[is_listed]], best[is_listed]]
            writer.write_batch(lists_batch(RANKED, first, indptr, columns, scores.missing))
    return {}


def join_lists(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: lists of a range of batches of sources, from what all parts have ranked."""
    asked = ListsAsked.from_json(payload["asked"])
    node_ix = storage.column(storage.map_arrow(Path(payload["sources"])), "node_ix")
    ranked = MassFiles(RANKED, [Path(file) for file in payload["ranked"]])
    batches = batches_of(int(payload["count"]), int(payload["at_once"]))
    start, end = payload["batches"]
    tables = [NEIGHBOR_LISTS.schema.empty_table()]
    largest_missing = 0.0
    for number in range(start, end):
        first, stop = batches[number]
        bounds, pieces = ranked.lists(number, first, stop)
        nodes, scores = ranked.joined(pieces)
        counts, best, their_scores = merge_lists(bounds, nodes, scores, asked.ppr.top_k)
        missing = np.zeros(stop - first)
        for batch in ranked.batches(number):
            missing += batch.column("missing").to_numpy()
        largest_missing = max(largest_missing, float(missing.max()))
        least = missing if payload["pointwise"] is None else np.minimum(missing, payload["pointwise"])
        bound = rounded_up(with_rounding(least))
        tables.append(table_of_lists(node_ix[first:stop], counts, best, their_scores, bound))
    lists = pa.concat_tables(tables).combine_chunks()
    storage.write_arrow(attempt.path("lists", "arrow"), lists)
    largest = float(lists["error_bound"].to_numpy().max(initial=0.0))
    return {"lists_rows": lists.num_rows, "largest_bound": largest, "largest_missing": largest_missing}


def _part_of(payload: Mapping[str, Any]) -> Part:
    ppr = ListsAsked.from_json(payload["asked"]).ppr
    return Part.read(payload["block"], payload["places"], ppr.edge_degree_power)


def _walk_of(part: Part, payload: Mapping[str, Any]) -> PartWalk:
    """Return the walk over a part, its split rows weighed in all parts, in part order."""
    weight = storage.column(storage.map_arrow(Path(payload["weights"])), "weight").copy()
    for sender, file in payload["shared"]:
        # Ghosts weigh nothing where they are: what comes in is that of split rows.
        weight[part.needed[sender]] += read_slice(Path(file), part.place).column(0).to_numpy()
    return part.walk(weight)


def _largest_strength(part: Part, walk: PartWalk, asked: ListsAsked) -> float:
    first, stop = part.block.rows_between(*asked.targets)
    return float(walk.strength[first:stop].max(initial=0.0, where=part.is_home[first:stop]))


class _Held:
    """What a part holds after the rounds so far."""

    def __init__(self, files: list[str]) -> None:
        self._files = MassFiles(HELD, [Path(file) for file in files])

    def of(self, number: int, first: int, stop: int) -> HeldMass:
        """Return that of a batch of sources."""
        bounds, pieces = self._files.lists(number, first, stop)
        return HeldMass(bounds, *self._files.joined(pieces))


def _nothing_held(sources: int) -> HeldMass:
    return HeldMass(np.zeros((sources, 0, 2), np.int64), np.empty(0, np.int32), np.empty(0), np.empty(0))


def _held_batch(first: int, done: PushResult) -> pa.RecordBatch:
    return lists_batch(HELD, first, done.held.indptr, [*done.held[1:]])


def _started(sources: int, source: NDArray[np.int64], row: NDArray[np.int64]) -> ArrivedMass:
    """Mass 1 at each source's row."""
    bounds = np.zeros((sources, 1, 2), np.int64)
    bounds[source, 0, 0] = np.arange(source.size)
    bounds[source, 0, 1] = np.arange(1, source.size + 1)
    return ArrivedMass(bounds, row.astype(np.int32), np.ones(source.size))


class _Inbox:
    """What other parts have sent to this one, senders in part order."""

    def __init__(self, part: Part, inbox: list[list[Any]]) -> None:
        self._part = part
        self._senders = [sender for sender, _ in inbox]
        self._files = MassFiles(SENT, [Path(file) for _, file in inbox], len(part.places), part.place)

    def of(self, number: int, first: int, stop: int) -> ArrivedMass:
        """Return that of a batch of sources."""
        bounds, pieces = self._files.lists(number, first, stop)
        for sender, piece in zip(self._senders, pieces, strict=True):
            piece[0] = self._part.rows_at(sender, piece[0])
        return ArrivedMass(bounds, *self._files.joined(pieces))


class _Known:
    """Home rows that sources are joined to by edges stored in other parts."""

    def __init__(self, part: Part, known: list[list[Any]]) -> None:
        self._part = part
        self._senders = [sender for sender, _ in known]
        self._files = MassFiles(KNOWN, [Path(file) for _, file in known], len(part.places), part.place)

    def of(self, number: int, first: int, stop: int) -> list[tuple[NDArray[np.int64], NDArray[np.int32]]]:
        """Return (source, row) of a batch of sources, sender by sender; sources are counted from the first."""
        bounds, pieces = self._files.lists(number, first, stop)
        sizes = bounds[:, :, 1] - bounds[:, :, 0]
        return [
            (np.repeat(np.arange(stop - first), sizes[:, at]), self._part.needed[sender][position])
            for at, (sender, (position,)) in enumerate(zip(self._senders, pieces, strict=True))
        ]
