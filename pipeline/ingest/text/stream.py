"""The text of a file as UTF-8, in blocks of whole lines: unpacked, decoded, without byte order marks."""

import codecs
from collections.abc import Iterable, Iterator

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.addresses import filesystem_of, naming
from pipeline.ingest.pieces import FilePiece

BLOCK = 8 * 2**20  # bytes
MAX_LINE = 2**30  # bytes; pyarrow's columns of text hold twice as many
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: First bytes of files that are no tables of text, whatever their names.
_FOREIGN = (
    (b"\x1f\x8b", "gzip data; let its name end in .gz"),
    (b"\x28\xb5\x2f\xfd", "zstd data; let its name end in .zst"),
    *((b"BZh%d1AY&SY" % level, "bzip2 data; let its name end in .bz2") for level in range(1, 10)),
    (b"PAR1", "Parquet; let its name end in .parquet"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet; unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet; save the sheet as CSV"),
    (b"ORC\n", "ORC; write it as Parquet"),
    (b"ORC\b", "ORC; write it as Parquet"),
    (b"Obj\x01", "Avro; write it as Parquet"),
    (b"ARROW1\0\0", "Arrow or Feather; write it as Parquet"),
    (b"\x93NUMPY", "an array of numpy; write it as Parquet or CSV"),
    (b"SQLite format 3\0", "a SQLite database; export the table as CSV"),
    (b"\x89HDF", "HDF5; write it as Parquet"),
    (b"\x89PNG", "a picture; name the data"),
    (b"\xff\xd8\xff", "a picture; name the data"),
    (b"%PDF-", "a PDF; name the data"),
    (b"\xfd7zXZ", "xz data; unpack it, or pack it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "lz4 data; unpack it, or pack it with gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"<!DOCTYPE", "a page of HTML, often an error or a login instead of the data; get the data again"),
    (b"<!doctype", "a page of HTML, often an error or a login instead of the data; get the data again"),
    (b"<html", "a page of HTML, often an error or a login instead of the data; get the data again"),
    (b"<?xml", "XML; write it as CSV or Parquet"),
    (b"version https://git-lfs.", "a pointer of git LFS, not the data; run 'git lfs pull'"),
)


def text_blocks(piece: FilePiece, encoding: str | None) -> Iterator[bytes]:
    """Yield the text in blocks that end where a line ends (LF, CR LF or CR), the last wherever the file does."""
    return cut_at_lines(piece, text_chunks(piece, encoding))


def cut_at_lines(piece: FilePiece, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield text that is cut anywhere in blocks as :func:`text_blocks` does."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        # A CR at the end may be half of a CR LF.
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, -1)) + 1
        if cut:
            yield b"".join([*parts, chunk[:cut]]) if parts else chunk[:cut]
            parts, size = [], 0
        if cut < len(chunk):
            parts.append(chunk[cut:])
            size += len(chunk) - cut
            if size > MAX_LINE:
                raise InputError(
                    f"{piece.address} has a line of more than {MAX_LINE:,} bytes; is it text? Its lines have to end in "
                    "LF, CR LF or CR, and a JSON file must not be one object"
                )
    if parts:
        yield b"".join(parts)


def with_last(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks, and whether each is the last; at least one, which may be empty."""
    ahead = b""
    for block in blocks:
        if ahead:
            yield ahead, False
        ahead = block
    yield ahead, True


def text_chunks(piece: FilePiece, encoding: str | None) -> Iterator[bytes]:
    """Yield the text as UTF-8, cut anywhere; UTF-8 passes unchanged.

    A character that can't be decoded becomes the byte FF, which is in no UTF-8 text: its row is rejected where
    the value is used, and no other.

    Raises
    ------
    InputError : a file that can't be read or unpacked, or is of another kind than its name says.
    """
    size = BLOCK
    with _stream(piece) as stream:
        start = _read(piece, stream, size)
        while 0 < len(start) < 4 and (more := _read(piece, stream, size)):
            start += more
        _refuse_foreign(piece, start)
        mark, mark_name = next(((mark, name) for mark, name in _MARKS if start.startswith(mark)), (b"", ""))
        name = codecs.lookup(encoding or "utf-8").name
        if mark_name and not name.startswith(mark_name):
            name = mark_name  # the mark is in the bytes, and the key is a habit
        if name == "utf-8":
            chunk = start.removeprefix(mark)
            while chunk:
                yield chunk
                chunk = _read(piece, stream, size)
            return
        decoder = codecs.getincrementaldecoder(name)(errors="graphquilt.mark")
        chunk, is_first = start, True
        while True:
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:  # of the file, not of a character, which is marked
                raise InputError(
                    f"{piece.address} can't be read as {name}: {error}; set input.encoding, such as 'utf-16-le' for a "
                    "file without a mark"
                ) from error
            yield (text.removeprefix("\ufeff") if is_first else text).encode("utf-8", "surrogateescape")
            if not chunk:
                return
            is_first = is_first and not text
            chunk = _read(piece, stream, size)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end  # which "surrogateescape" turns into the byte FF


codecs.register_error("graphquilt.mark", _mark)


def _stream(piece: FilePiece) -> pa.NativeFile:
    filesystem, path = filesystem_of(piece.address)
    with naming(piece.address, piece.format):
        return filesystem.open_input_stream(path, compression=piece.compression)


def _read(piece: FilePiece, stream: pa.NativeFile, size: int) -> bytes:
    with naming(piece.address, piece.format):
        chunk: bytes = stream.read(size)
    return chunk


def _refuse_foreign(piece: FilePiece, start: bytes) -> None:
    for magic, kind in _FOREIGN:
        if start.startswith(magic):
            raise InputError(f"{piece.address} is named as text, and its bytes are {kind}")
