"""Tasks of lists over parts: weigh the rows, push and exchange, rank, and join what the parts have ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import neighbors_of, offsets_of, read_slice
from pipeline.embedding.ppr.composed_part import Part, PartFiles, SourceRows
from pipeline.embedding.ppr.list_request import ListRequest, candidates_for
from pipeline.embedding.ppr.lists import rounded_up, table_of_lists, with_rounding
from pipeline.embedding.ppr.mass_files import (
    HELD,
    KNOWN,
    RANKED,
    SENT,
    MassFiles,
    SourceBatches,
    batches_by_part,
    lists_batch,
)
from pipeline.kernels.ppr_part_passes import ArrivedMass, HeldMass, PartScratch, PartWalk
from pipeline.kernels.ppr_parts import push_part, settle_part, weight_of_rows
from pipeline.kernels.ppr_top_k import top_k_of_rows
from pipeline.kernels.ranking import NO_ROW, merge_lists
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.storage.batch_files import batch_writer
from pipeline.tasks import Attempt
from schemas.tables import NEIGHBOR_LISTS

_WEIGHTS = pa.schema([pa.field("weight", pa.float64(), nullable=False)])


@dataclass(frozen=True)
class SentFile:
    """A file that another part left, with the part index of its sender."""

    sender: int
    file: Location


@dataclass(frozen=True)
class PartWeight:
    """What the entries stored in a part weigh, and how many rows are at home there."""

    weight: float
    home_rows: int


@dataclass(frozen=True)
class RoundPayload:
    """Input of the task that does one part's share of a round.

    weights : of the part's rows. shared_weights : those that other parts have of its rows, in part order.
    held_files : what the part holds after the rounds so far, oldest first. inbox : what others sent, in part order.
    is_first : sources start, each with mass 1 at its home.
    """

    part: PartFiles
    request: ListRequest
    sources: SourceBatches
    threshold: float
    weights: Location
    shared_weights: tuple[SentFile, ...]
    held_files: tuple[Location, ...] = ()
    inbox: tuple[SentFile, ...] = ()
    is_first: bool = True


@dataclass(frozen=True)
class RoundResult:
    """Entries sent to each part, edge ends walked, and the largest strength of the targets at home here."""

    entries_sent: tuple[int, ...]
    entries: int
    largest_strength: float


@dataclass(frozen=True)
class RankPayload:
    """Input of the task that ranks one part's home rows; ``neighbors`` are neighbours that all parts have found."""

    part: PartFiles
    request: ListRequest
    sources: SourceBatches
    held_files: tuple[Location, ...]
    neighbors: tuple[SentFile, ...]


@dataclass(frozen=True)
class JoinPayload:
    """Input of the task that joins the lists of some batches of sources.

    ranked_files : of each part. score_bound : of every single score; None where the bound is on the sum of errors.
    batches : (first, stop).
    """

    sources: SourceBatches
    top_k: int
    ranked_files: tuple[Location, ...]
    score_bound: float | None
    batches: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class JoinResult:
    """Largest error bound of a list, and the l1 error of the worst source."""

    largest_bound: float
    largest_missing: float


def weigh_part(payload: PartFiles, attempt: Attempt) -> PartWeight:
    """Task: what the rows of a part weigh here, those at home elsewhere by home.

    Float32 weights are added as the push will use them, so that a push sends on all that it takes, and no more.
    """
    part = Part.read(payload)
    weight = weight_of_rows(part.block.indptr, part.block.edge_weight)
    storage.write_arrow(attempt.path("weights", "arrow"), pa.Table.from_arrays([pa.array(weight)], schema=_WEIGHTS))
    with batch_writer(attempt.path("shared", BATCHES), _WEIGHTS) as writer:
        for rows in part.away:
            writer.write_batch(pa.record_batch([pa.array(weight[rows])], schema=_WEIGHTS))
    return PartWeight(float(weight.sum()), int(part.is_home.sum()))


def push_round(payload: RoundPayload, attempt: Attempt) -> RoundResult:
    """Task: take in what other parts sent, push until no home row has more than may wait, and send out.

    In the first round sources start at home here. If lists leave known nodes out, it also writes which edges are here.
    """
    request, part = payload.request, Part.read(payload.part)
    walk = _walk_of(part, payload)
    held_files, nothing_held = MassFiles(HELD, payload.held_files), MassFiles(HELD, ())
    inbox = _Inbox(SENT, part, payload.inbox)
    batches = payload.sources.ranges()
    source_rows = SourceRows.find(payload.sources.file, part)
    at_home = source_rows.at_home(part)
    scratch = PartScratch.of(walk.rows)
    entries_sent = np.zeros(len(part.home_rows_for), np.int64)
    entries = 0
    with (
        batch_writer(attempt.path("held", BATCHES), HELD) as held_writer,
        batch_writer(attempt.path("sent", BATCHES), SENT) as sent_writer,
    ):
        for number, (first, stop) in enumerate(batches):
            if payload.is_first:
                arrivals = _unit_mass(stop - first, *at_home.between(first, stop))
            else:
                arrivals = inbox.mass(number, first, stop)
            before = _held_mass(held_files if arrivals.mass.size else nothing_held, number, first, stop)
            push = push_part(walk, request.ppr.restart, payload.threshold, before, arrivals, scratch)
            held_writer.write_batch(lists_batch(HELD, first, push.held.indptr, [*push.held[1:]]))
            columns: list[NDArray[Any]] = [push.sent.position, push.sent.mass]
            for batch in batches_by_part(
                SENT, first, push.sent.indptr, push.sent.part_index, columns, entries_sent.size
            ):
                sent_writer.write_batch(batch)
            entries_sent += np.bincount(push.sent.part_index, minlength=entries_sent.size)
            entries += push.entries
    if payload.is_first and request.ppr.exclude_known:
        _write_known(part, source_rows, batches, attempt.path("known", BATCHES))
    return RoundResult(tuple(entries_sent.tolist()), entries, _largest_strength(part, walk, request))


def _write_known(part: Part, source_rows: SourceRows, batches: list[tuple[int, int]], file: Path) -> None:
    """Write the neighbours that sources have by edges stored here, for the neighbours' homes."""
    home, position = part.homes
    with batch_writer(file, KNOWN) as writer:
        for first, stop in batches:
            source, near = neighbors_of(part.block.indptr, part.block.neighbor, *source_rows.between(first, stop))
            is_away = home[near] >= 0
            indptr = np.searchsorted(source[is_away], np.arange(stop - first + 1))
            away = near[is_away]
            for batch in batches_by_part(KNOWN, first, indptr, home[away], [position[away]], len(part.home_rows_for)):
                writer.write_batch(batch)


def rank_part(payload: RankPayload, attempt: Attempt) -> None:
    """Task: the best home rows of a part for each source, as lists may hold them, and what is missing there."""
    request, part = payload.request, Part.read(payload.part)
    block = part.block
    span = block.rows_between(*request.targets)
    length = min(request.ppr.top_k, max(1, span[1] - span[0]))
    held_files = MassFiles(HELD, payload.held_files)
    inbox = _Inbox(KNOWN, part, payload.neighbors)
    source_rows = SourceRows.find(payload.sources.file, part)
    scratch = PartScratch.of(block.node_ix.size)
    with batch_writer(attempt.path("ranked", BATCHES), RANKED) as writer:
        for number, (first, stop) in enumerate(payload.sources.ranges()):
            scores = settle_part(request.ppr.restart, _held_mass(held_files, number, first, stop), scratch)
            source, row = source_rows.between(first, stop)
            exclusions: list[tuple[NDArray[np.int64], NDArray[np.integer]]] = [(source, row)]
            if request.ppr.exclude_known:
                exclusions.append(neighbors_of(block.indptr, block.neighbor, source, row))
                exclusions += inbox.neighbors(number, first, stop)
            candidates = candidates_for(request, span, block.degree, exclusions, stop - first)
            rows, best = top_k_of_rows(scores, candidates.of_sources(0, stop - first), length)
            is_listed = rows != NO_ROW
            indptr = offsets_of(is_listed.sum(axis=1))
            columns = [block.node_ix[rows[is_listed]], best[is_listed]]
            writer.write_batch(lists_batch(RANKED, first, indptr, columns, scores.missing))


def join_lists(payload: JoinPayload, attempt: Attempt) -> JoinResult:
    """Task: lists of a range of batches of sources, from what all parts have ranked."""
    node_ix = storage.column(storage.map_arrow(payload.sources.file), "node_ix")
    ranked_files = MassFiles(RANKED, payload.ranked_files)
    batches = payload.sources.ranges()
    tables = [NEIGHBOR_LISTS.schema.empty_table()]
    largest_missing = 0.0
    for number in range(*payload.batches):
        first, stop = batches[number]
        bounds, pieces = ranked_files.lists(number, first, stop)
        nodes, scores = ranked_files.concat(pieces)
        counts, best, their_scores = merge_lists(bounds, nodes, scores, payload.top_k)
        missing = np.zeros(stop - first)
        for batch in ranked_files.batches(number):
            missing += batch.column("missing").to_numpy()
        largest_missing = max(largest_missing, float(missing.max()))
        least = missing if payload.score_bound is None else np.minimum(missing, payload.score_bound)
        bound = rounded_up(with_rounding(least))
        tables.append(table_of_lists(node_ix[first:stop], counts, best, their_scores, bound))
    lists = pa.concat_tables(tables).combine_chunks()
    storage.write_arrow(attempt.path("lists", "arrow"), lists)
    largest = float(lists["error_bound"].to_numpy().max(initial=0.0))
    return JoinResult(largest, largest_missing)


def _walk_of(part: Part, payload: RoundPayload) -> PartWalk:
    """Return the walk over a part, its split rows weighed in all parts, in part order."""
    weight = storage.column(storage.map_arrow(payload.weights), "weight").copy()
    for sent_file in payload.shared_weights:
        # Ghosts weigh nothing where they are: what comes in is that of split rows.
        weight[part.home_rows_for[sent_file.sender]] += read_slice(sent_file.file, part.index).column(0).to_numpy()
    return part.walk(weight)


def _largest_strength(part: Part, walk: PartWalk, request: ListRequest) -> float:
    first, stop = part.block.rows_between(*request.targets)
    return float(walk.strength[first:stop].max(initial=0.0, where=part.is_home[first:stop]))


def _held_mass(held_files: MassFiles, number: int, first: int, stop: int) -> HeldMass:
    """Return what a part holds of a batch of sources."""
    bounds, pieces = held_files.lists(number, first, stop)
    return HeldMass(bounds, *held_files.concat(pieces))


def _unit_mass(sources: int, source: NDArray[np.int64], row: NDArray[np.int64]) -> ArrivedMass:
    """Return mass 1 at each source's row."""
    bounds = np.zeros((sources, 1, 2), np.int64)
    bounds[source, 0] = np.arange(source.size)[:, None] + [0, 1]
    return ArrivedMass(bounds, row.astype(np.int32), np.ones(source.size))


class _Inbox:
    """What other parts have sent to this one, senders in part order."""

    def __init__(self, schema: pa.Schema, part: Part, sent_files: Sequence[SentFile]) -> None:
        self._part = part
        self._senders = [sent_file.sender for sent_file in sent_files]
        self._files = MassFiles(
            schema, [sent_file.file for sent_file in sent_files], len(part.home_rows_for), part.index
        )

    def mass(self, number: int, first: int, stop: int) -> ArrivedMass:
        """Return the mass that arrives of a batch of sources."""
        bounds, pieces = self._files.lists(number, first, stop)
        for sender, piece in zip(self._senders, pieces, strict=True):
            piece[0] = self._part.rows_at(sender, piece[0])
        return ArrivedMass(bounds, *self._files.concat(pieces))

    def neighbors(self, number: int, first: int, stop: int) -> list[tuple[NDArray[np.int64], NDArray[np.int32]]]:
        """Return (source, home row) of edges stored elsewhere, sender by sender; sources count from the first."""
        bounds, pieces = self._files.lists(number, first, stop)
        sizes = bounds[:, :, 1] - bounds[:, :, 0]
        return [
            (np.repeat(np.arange(stop - first), sizes[:, at]), self._part.home_rows_for[sender][position])
            for at, (sender, (position,)) in enumerate(zip(self._senders, pieces, strict=True))
        ]
