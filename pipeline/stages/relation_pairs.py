"""The files of one relation -> its clean rows, and one row a pair of nodes: what ingest does for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import InputConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.clean_rows import CleanRows
from pipeline.ingest.day_sums import Chunk
from pipeline.ingest.figures import PairFigures
from pipeline.ingest.key_names import key_names_of
from pipeline.ingest.parse import rows_schema
from pipeline.ingest.sources import SourceFile
from pipeline.locations import Location
from pipeline.stages.night_input import NightInput, night_sums, plan_input, write_sums
from pipeline.stages.outcome import OutputFile, describe_engine_files, describe_task_files
from pipeline.tasks import TaskRecord
from pipeline.workspace import Workspace
from schemas.tables import EDGES

_STAGE = "ingest"


@dataclass(frozen=True)
class RelationPairs:
    """The pairs of a relation: those that weigh something, those that have decayed, and what later nights build on."""

    edges: Sequence[OutputFile]
    decayed: Sequence[OutputFile]
    chunks: Sequence[OutputFile]
    sums: Sequence[OutputFile]
    records: Sequence[TaskRecord[None]]  # of tasks that rewrote ids


@dataclass(frozen=True)
class RelationRows:
    """The rows of a relation that count; ``number`` is its place among all."""

    number: int
    relation: InputConfig
    sources: Sequence[SourceFile]
    night: NightInput
    rows: CleanRows
    folder: Location  # of its tasks

    @classmethod
    def read(
        cls,
        engine: Engine[Frame],
        config: PipelineConfig,
        workspace: Workspace,
        sources: Mapping[str, Sequence[SourceFile]],
        *,
        reads_all: bool,
    ) -> list[RelationRows]:
        """Parse the files of all relations, by name, and judge each relation's rejected share.

        Raises
        ------
        InputError : a relation has no rows that count, or too many that are rejected.
        """
        relations = []
        for number, relation in enumerate(config.all_relations):
            files = sources[relation.name]
            night = plan_input(config, relation, workspace, files, slots=engine.slots, reads_all=reads_all)
            work = workspace.work(_STAGE)
            folder = work / f"relation-{number}" if number else work
            is_undirected = config.input.is_plain and relation.is_plain
            with key_names_of(relation.section):
                rows = CleanRows.read(engine, night.payloads, folder, is_undirected=is_undirected)
                relations.append(cls(number, relation, files, night, rows, folder))
                relations[-1]._refuse_unusable(workspace)
        return relations

    @property
    def has_int64_ids(self) -> bool:
        """Whether all its ids are canonical int64."""
        return self.rows.counts.has_int64_ids and self.night.has_int64_ids

    @property
    def weight_total(self) -> int:
        """Exact sum of the weights of all its rows."""
        return self.rows.counts.weight_total + (self.night.before.weight_total if self.night.before else 0)

    def is_of_other_ids(self, id_type: pa.DataType) -> bool:
        """Whether an earlier night's sums, which stay, have ids of another type."""
        before = self.night.before
        return before is not None and bool(self.night.reading.chunks) and before.id_type != str(id_type)

    def sum_pairs(self, engine: Engine[Frame], workspace: Workspace, id_type: pa.DataType) -> RelationPairs:
        """Write one row a pair.

        Raises
        ------
        InputError : all pairs have decayed. StorageError : rows were lost on their way through the engine.
        """
        files, rewrites = self.rows.convert_ids(engine, self.folder, id_type)
        if self.rows.are_pairs and not rewrites:
            of_edges, of_decayed = (describe_task_files(self.rows.records, role) for role in ("edges", "decayed"))
            return self._require_pairs(RelationPairs(of_edges, of_decayed, (), (), ()))
        chunks, sums, rows = list[OutputFile](), list[OutputFile](), self.rows.counts.kept
        if self.night.own_days is None:
            row_files = [file for of_day in files.values() for file in of_day]
        else:
            of_days, chunks = self._sum_days(engine, workspace, files, id_type)
            row_files, rows = [file.path for file in chunks], sum(chunk.rows for chunk in of_days)
            made_of = (self.night, self.rows, of_days, workspace, self.sources, str(id_type), self.weight_total)
            sums.append(write_sums(night_sums(self.relation, *made_of), workspace, self.number))
        edges, decayed_pairs = self._write_pairs(engine, workspace, row_files, id_type)
        _refuse_loss(rows, [*edges, *decayed_pairs])
        of_edges, of_decayed = map(describe_engine_files, (edges, decayed_pairs))
        return self._require_pairs(RelationPairs(of_edges, of_decayed, chunks, sums, rewrites))

    def figures(self, pairs: RelationPairs) -> PairFigures:
        """Return the counts of its rows, files and pairs."""
        return PairFigures(
            **self.rows.counts.figures() | {"weight_total": self.weight_total},
            pairs=sum(file.rows for file in pairs.edges),
            decayed_pairs=sum(file.rows for file in pairs.decayed),
            files=len(self.sources),
            bytes_read=self.night.bytes_read,
        )

    def _sum_rows(self, engine: Engine[Frame], files: Sequence[Location], id_type: pa.DataType) -> Frame:
        return engine.sum_by(
            engine.read(files, rows_schema(id_type).names, rows_schema(id_type)),
            ["src_id", "dst_id"],
            ["weight", "events"],
            ["last_ts"],
            keys_repeat=False,
            may_overflow=self.weight_total >= 2**63,
        )

    def _sum_days(
        self,
        engine: Engine[Frame],
        workspace: Workspace,
        files: Mapping[int, Sequence[Location]],
        id_type: pa.DataType,
    ) -> tuple[list[Chunk], list[OutputFile]]:
        """Sum the rows of each day that has its own chunk, and those of all others; return all chunks and files."""
        chunks = list(self.night.reading.chunks)
        outputs = [self.night.chunk_files[checksum] for chunk in chunks for checksum in chunk.checksums]
        for day, of_day in sorted(files.items()):
            from_rows = [file for file in self.rows.row_files if file.day == day]
            pairs = self._sum_rows(engine, of_day, id_type)
            day_files = engine.write(pairs, workspace.scratch(_STAGE, f"day-{self.number}-{day}"), rows_schema(id_type))
            new = describe_engine_files(day_files)
            has_int64_ids = all(file.id_type == "int64" for file in from_rows)
            checksums = tuple(file.checksum for file in new)
            chunks.append(Chunk(day, checksums, sum(file.rows for file in from_rows), has_int64_ids))
            outputs += new
        return chunks, outputs

    def _write_pairs(
        self, engine: Engine[Frame], workspace: Workspace, files: Sequence[Location], id_type: pa.DataType
    ) -> tuple[list[Location], list[Location]]:
        """Write one row a pair; return the files of those that weigh something, and of those that have decayed."""
        names, schema = rows_schema(id_type).names, EDGES.schema_for(id_type)
        types = {"src_type": self.relation.source_type, "dst_type": self.relation.target_type}
        constants: dict[str, int | str] = {**types, "relation": self.number}
        sums = engine.rename(self._sum_rows(engine, files, id_type), {name: name for name in names}, constants)

        def folder(name: str) -> Location:
            return workspace.scratch(_STAGE, f"{name}-{self.number}")

        if self.relation.half_life_days is None:
            return engine.write(sums, folder("edges"), schema), []
        # Weights that halve end at zero after 32 half-lives: no edge, but its nodes are still of this window.
        both = engine.write(sums, folder("pairs"), schema)
        pairs = engine.read(both, EDGES.schema.names, schema)
        edges, decayed_pairs = (
            engine.write(engine.where_positive(pairs, "weight", positive=positive), folder(name), schema)
            for name, positive in (("edges", True), ("decayed", False))
        )
        return edges, decayed_pairs

    def _refuse_unusable(self, workspace: Workspace) -> None:
        counts, relation, key = self.rows.counts, self.relation, self.relation.section
        has_more = bool(self.night.reading.chunks)
        reasons = counts.describe_rejections()
        where = f"of {counts.read:,} rows in {relation.path}"
        kept_at = f"the rejected rows stand in {self.folder}/*rejected*"
        if counts.read == 0 and not has_more:
            raise InputError(f"the input {relation.path} has no rows; check {key}.path and the files it names")
        if counts.rejected_share > relation.max_rejected_share:
            raise InputError(
                f"{counts.rejected_total:,} {where} were rejected ({reasons}), a share of {counts.rejected_share:.4g}; "
                f"{key}.max_rejected_share is {relation.max_rejected_share:g}. Repair the rows or raise the bound; "
                f"{kept_at}"
            )
        if counts.kept == 0 and not has_more:
            outside = f"{counts.late:,} are at or after the end of {workspace.date}, {counts.early:,} before the window"
            is_of_time = counts.late or counts.early or any("timestamp" in reason for reason in counts.rejected)
            advice = f"the file and how [{key}] says that it is read; {kept_at}"
            if is_of_time:
                advice = f"--date, {key}.window_days, {key}.timestamp_unit and {key}.timestamp_format"
            raise InputError(
                f"no edges are left: {where}, {counts.rejected_total:,} were rejected ({reasons or 'none'}) and "
                f"{outside}; check {advice}"
            )

    def _require_pairs(self, pairs: RelationPairs) -> RelationPairs:
        """Return pairs that are not all decayed."""
        if not any(file.rows for file in pairs.edges):
            key = self.relation.section
            raise InputError(
                f"no edges are left: all {sum(file.rows for file in pairs.decayed)} pairs are older than 32 half-lives "
                f"of {self.relation.half_life_days:g} days; raise {key}.half_life_days or check the dates"
            )
        return pairs


def _refuse_loss(rows: int, files: Sequence[Location]) -> None:
    """Refuse pairs that don't hold every row: each counts one event of its pair."""
    for path in files:
        storage.check_sealed(path)
    batches = storage.read_batches(files, ["events"], 262_144)
    events = sum(int(pc.sum(batch["events"]).as_py() or 0) for batch in batches)
    if events != rows:
        raise StorageError(
            f"{rows:,} rows were kept, and the pairs made of them hold {events:,}: rows were lost or doubled on their "
            "way through the engine. Run ingest again; if it happens again, keep the workspace and report it"
        )
