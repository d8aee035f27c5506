"""The history of a published name: one small Parquet file that every night rewrites, and no cleaning removes."""

from __future__ import annotations

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
            replace_unchanged(path, _to_bytes(_merged(path, raw, night)), version)
    except (GraphquiltError, OSError) as error:
        log.warning("name=%s metrics_history=not_written reason=%r", name, str(error))


def _merged(path: Location, raw: bytes | None, night: pa.Table) -> pa.Table:
    if raw is None:
        return night
    try:
        before = pq.read_table(io.BytesIO(raw))
        METRICS_HISTORY.check_schema(before.schema, str(path))
    except (pa.ArrowException, OSError, ContractViolationError) as error:
        storage.write(path.with_name(f"{path.name}.damaged"), raw)
        log.warning("metrics_history=started_anew reason=%r", str(error))
        return night
    before = before.select(night.schema.names).cast(night.schema)
    others = before.filter(pc.invert(pc.is_in(before["release"], pc.unique(night["release"]))))
    return pa.concat_tables([others, night]).sort_by([(name, "ascending") for name in METRICS_HISTORY.key])


def _to_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
