"""Where bytes are kept: the only place that knows what a location is on, and that writes files of the workspace."""

from graphquilt.store_clients import StoreSettings
from pipeline.storage.arrow_files import (
    TABLE_SUFFIXES,
    bounds_of,
    column,
    footer_of,
    load_array,
    map_arrow,
    open_parquet,
    parquet_writer,
    read_batches,
    read_parquet,
    read_schema,
    rows_in,
    scratch_array,
    write_arrow,
    write_parquet,
)
from pipeline.storage.backend import StoredFile
from pipeline.storage.cache import CacheSettings
from pipeline.storage.checksums import (
    check_sealed,
    checksum_of_bytes,
    copy_sealed,
    fingerprint_of,
    is_of_table,
    problem_of,
    seal,
    table_file,
)
from pipeline.storage.digests import checksum_of, sealed_checksum, sha256_of
from pipeline.storage.files import (
    BATCHES,
    WORK,
    copy,
    files_below,
    free_bytes,
    fsync_folder,
    has_folder,
    local_file,
    make_folder,
    move_in,
    names_in,
    new_folder,
    open_ranges,
    open_root,
    read,
    read_version,
    remove,
    remove_tree,
    require_free_space,
    require_own,
    require_own_tree,
    size,
    staging_folder,
    swap,
    write,
    write_if_absent,
)
from pipeline.storage.json_files import (
    json_bytes,
    put_json_if_absent,
    read_checked_json,
    read_json,
    read_own_json,
    write_checked_json,
    write_json,
)
from pipeline.storage.leases import fence_of
from pipeline.storage.locks import lock
from pipeline.storage.plain_rows import take_vectors
from pipeline.storage.settings import StorageSettings, brief_requests, current_settings, use_settings
