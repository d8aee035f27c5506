"""Addresses of files, as people and lake tables write them: any that ``pyarrow.fs`` understands."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pyarrow as pa
import pyarrow.fs as pafs

from graphquilt.rights import describe_denial, is_denied
from pipeline import storage
from pipeline.errors import InputError, first_line
from pipeline.ingest.file_formats import FORMAT_NAMES, Format

WILDCARD = re.compile(r"[*?\[]")
_URI_SIGNS = "/:@%+=,;~&!$'()"  # "%" too: an address may be quoted already
_WITH_HOST = {"hdfs", "viewfs"}
_AZURE_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
_SCHEMES = ("file", "s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs", "viewfs")
_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("s3a", "s3n"), "s3://BUCKET/PATH (keys by AWS_ACCESS_KEY_ID or AWS_PROFILE, not by fs.s3a.*)"),
    **dict.fromkeys(("wasb", "wasbs"), "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
    **dict.fromkeys(("azure", "adl"), "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
}


def filesystem_of(address: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of an address and the path on it; without a scheme it is a local path.

    Raises
    ------
    InputError : unknown scheme, or a filesystem that can't be reached from here.
    """
    scheme, separator, rest = address.partition("://")
    if hint := _hint_for(address):
        raise InputError(f"input {address} can't be opened: {hint}")
    if not separator:
        return pafs.LocalFileSystem(), str(Path(os.path.expanduser(address)).absolute())
    if scheme == "file":
        return pafs.LocalFileSystem(), unquote(rest)
    place, query = _split_query(rest)
    # A wildcard is no part of a URI ("?" would begin its query): the folder before it is.
    wild = WILDCARD.search(place)
    folder = place if wild is None else place[: wild.start()].rpartition("/")[0]
    try:
        filesystem, path = pafs.FileSystem.from_uri(_uri(scheme, quote(folder, safe=_URI_SIGNS), query))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(
            f"input {address} can't be opened: {first_line(error)}. pyarrow.fs reads local paths, file://, "
            "s3://, gs://, abfs:// and hdfs://; check the address, its credentials and the network."
        ) from error
    path += place[len(folder) :]
    return filesystem, path


def _uri(scheme: str, place: str, query: str) -> str:
    """Return what pyarrow opens: with the keys of [storage], and Azure's name as it stands in its own addresses."""
    if scheme == "az":
        container, _, path = place.partition("/")
        return f"abfs://{container}@{os.environ[_AZURE_ACCOUNT]}.dfs.core.windows.net/{path}{query}"
    options = dict(parse_qsl(query.removeprefix("?")))
    store = storage.current_settings().store
    if scheme == "s3" and store.endpoint:
        protocol, _, host = store.endpoint.rpartition("://")
        options = {"endpoint_override": host, "scheme": protocol or "https", **options}
    if scheme == "s3" and store.region:
        options = {"region": store.region, **options}
    return f"{scheme}://{place}" + (f"?{urlencode(options)}" if options else "")


def _hint_for(address: str) -> str | None:
    """Return what to write instead of an address that Hadoop, Spark or Databricks spell in their own way."""
    match = re.match(r"([A-Za-z][A-Za-z0-9]*):/", address)
    scheme = match[1].lower() if match else ""
    if scheme == "az" and _AZURE_ACCOUNT not in os.environ:
        return f"az:// names no account: set {_AZURE_ACCOUNT}, or write {_OTHER_NAMES['azure']}"
    if spelling := _OTHER_NAMES.get(scheme):
        return f"{scheme}:// is Hadoop's name for it; write {spelling}"
    if scheme == "dbfs":
        return "dbfs:/ is known to Databricks alone; there the same files are under /dbfs/, mounted on every node"
    if scheme in _SCHEMES and "://" not in address:
        slashes = "///" if scheme in ("file", "hdfs") else "//"
        return f"an address has two slashes behind its scheme; write {scheme}:{slashes}{address[match.end() :]}"  # type: ignore[union-attr]
    return None


def _split_query(address: str) -> tuple[str, str]:
    """Part an address from options such as ``?endpoint_override=...``; a lone "?" is a wildcard."""
    match = re.search(r"\?\w+=", address)
    return (address[: match.start()], address[match.start() :]) if match else (address, "")


def split_options(address: str) -> tuple[str, dict[str, str]]:
    """Part an address from its options, such as those of an object store."""
    place, query = _split_query(address) if "://" in address else (address, "")
    return place, dict(parse_qsl(query.removeprefix("?")))


def endpoint_of(options: Mapping[str, str]) -> str | None:
    """Return the URL of the object store that an address names in its options."""
    endpoint = options.get("endpoint_override")
    return endpoint if not endpoint or "://" in endpoint else f"{options.get('scheme', 'https')}://{endpoint}"


def path_in(address: str) -> str:
    """Return the path of a file's address on its filesystem, nothing unquoted: logs of lake tables write it so."""
    scheme, separator, rest = address.partition("://")
    return rest.partition("/")[1] + rest.partition("/")[2] if scheme in _WITH_HOST else rest if separator else address


def address_on(filesystem: pafs.FileSystem, root: str, path: str) -> str:
    """Return the address of a path on the filesystem of the address ``root``."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        return path
    scheme, _, rest = root.partition("://")
    # The path on HDFS does not repeat the host, that on an object store begins with the bucket.
    host = f"{rest.partition('/')[0]}/" if scheme in _WITH_HOST else ""
    return f"{scheme}://{host}{quote(path.lstrip('/'))}{_split_query(rest)[1]}"


@contextmanager
def naming(address: str, file_format: Format) -> Iterator[None]:
    """Turn pyarrow's error about unreadable data into an InputError that names the file."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        pa.ArrowCapacityError,
        OSError,
    ) as error:
        if is_denied(error):
            raise InputError(f"{address} can't be read: {describe_denial(error, address)}") from error
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{address} was there when the input was listed, and is gone; run again") from error
        advice = {
            "parquet": "It was cut off or damaged: write or copy it again",
            "csv": "It was cut off or damaged, or keys such as input.delimiter don't fit it: repair it",
            "json": "It must hold one object a line, or one array of objects: repair it",
        }[file_format]
        if "encrypted" in str(error):
            advice = "No key can be given here: write it again without encryption"
        raise InputError(
            f"{address} can't be read as {FORMAT_NAMES[file_format]}: {first_line(error)}. "
            f"{advice}, or leave it out by naming the others with a glob."
        ) from error
