"""The history of a published name: one small Parquet file that every night rewrites, and no cleaning removes."""

import io
import logging

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graphquilt.contracts import ContractViolationError
from pipeline import storage
from pipeline.errors import GraphquiltError
from pipeline.locations import Location
from pipeline.publishing.pointer import own_folder, replace_unchanged
from pipeline.publishing.release import LOCK
from pipeline.storage import lock
from schemas.metrics_history import METRICS_HISTORY

HISTORY = f"{METRICS_HISTORY.name}.parquet"

#: Columns that came after the first nights were recorded.
_LATER = pa.schema([METRICS_HISTORY.schema.field("pair_source")]).empty_table()

log = logging.getLogger(__name__)


def record_night(root: Location, name: str, night: pa.Table, wait_s: float = 60.0) -> None:
    """Add a night's rows to the history of a name; rows of the same release are replaced by them.

    The file is replaced as a whole, under the lock of the name and, in an object store, only if it is what was read: of
    two nights neither is lost. Readers have the release, or have been refused it, by now: what goes wrong here is a
    warning, and the next run of the date adds its rows. A file that can't be read is kept as ``.damaged`` beside the
    new one.
    """
    try:
        folder = own_folder(root, name)
        with lock(folder / LOCK, f"history of {name}", wait_s):
            path = folder / HISTORY
            storage.require_own(path, "file")
            raw, version = storage.read_version(path) or (None, None)
            before = _read(path, raw)
            own = pc.is_in(before["release"], pc.unique(night["release"]))
            if _figures(before.filter(own)).equals(_figures(night)):
                return  # a rerun that found all of it done
            table = pa.concat_tables([before.filter(pc.invert(own)), night])
            order = [(name, "ascending") for name in METRICS_HISTORY.key]
            replace_unchanged(path, _to_bytes(table.sort_by(order)), version)
    except (GraphquiltError, OSError) as error:
        log.warning("name=%s metrics_history=not_written reason=%r", name, str(error))


def read_history(folder: Location) -> pa.Table:
    """Return the history of the name whose folder this is; empty where it can't be read, which a warning says."""
    path = folder / HISTORY
    try:
        raw = storage.read(path)
        return _parse(path, raw) if raw is not None else METRICS_HISTORY.schema.empty_table()
    except (pa.ArrowException, OSError, ContractViolationError) as error:
        log.warning("path=%s metrics_history=left_out reason=%r", path, str(error))
        return METRICS_HISTORY.schema.empty_table()


def _read(path: Location, raw: bytes | None) -> pa.Table:
    if raw is None:
        return METRICS_HISTORY.schema.empty_table()
    try:
        return _parse(path, raw)
    except (pa.ArrowException, OSError, ContractViolationError) as error:
        storage.write(path.with_name(f"{path.name}.damaged"), raw)
        log.warning("metrics_history=started_anew reason=%r", str(error))
        return METRICS_HISTORY.schema.empty_table()


def _parse(path: Location, raw: bytes) -> pa.Table:
    table = pq.read_table(io.BytesIO(raw))
    table = pa.concat_tables([_LATER, table], promote_options="default")
    METRICS_HISTORY.check_schema(table.schema, str(path))
    return table.select(METRICS_HISTORY.schema.names).cast(METRICS_HISTORY.schema)


def _figures(table: pa.Table) -> pa.Table:
    """Return what a rerun that did nothing says again."""
    return table.drop_columns(["recorded_at", "run_id"]).combine_chunks()


def _to_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
