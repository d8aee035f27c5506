"""Where bytes are kept: the only place that writes files of the workspace."""

from pipeline.storage.arrow_files import (
    TABLE_SUFFIXES,
    column,
    footer_of,
    map_arrow,
    parquet_writer,
    read_batches,
    read_parquet,
    rows_in,
    write_arrow,
    write_parquet,
)
from pipeline.storage.checksums import (
    check_sealed,
    checksum_of,
    fingerprint_of,
    is_of_table,
    problem_of,
    seal,
    sealed_checksum,
    sha256_of,
    table_file,
)
from pipeline.storage.files import (
    BATCHES,
    WORK,
    fsync_folder,
    local_root,
    make_folder,
    remove_tree,
    require_free_space,
    require_own,
    require_own_tree,
    write_bytes,
)
from pipeline.storage.json_files import (
    json_bytes,
    put_json_if_absent,
    read_checked_json,
    read_json,
    write_checked_json,
    write_json,
)
from pipeline.storage.scratch_arrays import scratch_array
