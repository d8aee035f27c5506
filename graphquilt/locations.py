"""Where a file or folder is: a path of this machine, or an address in an object store.

Both have the same words for names (``/``, ``name``, ``parent``, ...). What reads or writes belongs to whoever has a
client for the store. Standard library only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

#: Object stores that tables may be in.
STORES = ("s3", "gs", "az")
#: How other programs, and people, write them.
_OTHER_NAMES = {
    **dict.fromkeys(("s3a", "s3n"), "s3"),
    "gcs": "gs",
    **dict.fromkeys(("azure", "abfs", "abfss", "wasb", "wasbs", "adl"), "az"),
}
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9]*):/(?!/)")


class AddressError(ValueError):
    """An address can't be that of a table."""


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object in a store, or all objects whose keys begin with a folder's name: ``s3://bucket/folder/file``.

    It is no :class:`os.PathLike`, so that nothing takes it for a path of this machine.
    """

    bucket: str  # with its scheme: "s3://bucket"
    key: PurePosixPath  # relative; "." for the whole bucket

    def __str__(self) -> str:
        return self.bucket if self.key.name == "" else f"{self.bucket}/{self.key}"

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(self.bucket, self.key / name)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.name

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self.key.stem

    @property
    def suffix(self) -> str:
        """The last suffix, with its dot."""
        return self.key.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes, each with its dot."""
        return self.key.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket, then the parts of the key."""
        return self.bucket, *self.key.parts

    @property
    def parent(self) -> ObjectPath:
        """The folder it is in; of a bucket, the bucket."""
        return ObjectPath(self.bucket, self.key.parent)

    @property
    def parents(self) -> tuple[ObjectPath, ...]:
        """The folders it is in, nearest first, the bucket last."""
        return tuple(ObjectPath(self.bucket, key) for key in self.key.parents)

    def with_name(self, name: str) -> ObjectPath:
        """Return the neighbour of that name."""
        return ObjectPath(self.bucket, self.key.with_name(name))

    def with_suffix(self, suffix: str) -> ObjectPath:
        """Return the neighbour with another last suffix."""
        return ObjectPath(self.bucket, self.key.with_suffix(suffix))

    def is_relative_to(self, other: Location) -> bool:
        """Whether it is a folder, or lies in it."""
        return isinstance(other, ObjectPath) and self.bucket == other.bucket and self.key.is_relative_to(other.key)

    def relative_to(self, other: Location) -> PurePosixPath:
        """Return its name as seen from a folder; ValueError: it does not lie there."""
        if not isinstance(other, ObjectPath) or self.bucket != other.bucket:
            raise ValueError(f"{self} is not below {other}")
        return self.key.relative_to(other.key)


Location = Path | ObjectPath


def parse_location(address: str | os.PathLike[str] | ObjectPath) -> Location:
    """Return the location of an address: a path, ``file://``, ``s3://``, ``gs://`` or ``az://``.

    Raises
    ------
    AddressError : another scheme, one slash behind it, no bucket, or a key that is not one path.
    """
    if isinstance(address, ObjectPath):
        return address
    text = os.fspath(address)
    if (match := _ONE_SLASH.match(text)) and match[1].lower() in (*STORES, *_OTHER_NAMES, "file", "hdfs"):
        raise AddressError(f"{text} has one slash behind '{match[1]}:', where an address has two; write the second one")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        return Path(os.path.expanduser(rest if separator else text)).absolute()
    if scheme not in STORES:
        raise AddressError(f"{text} {_describe_scheme(scheme)}; tables are in a folder, or on s3://, gs:// or az://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise AddressError(f"{text} names no bucket; give {scheme}://BUCKET/FOLDER")
    if ".." in key.split("/"):
        raise AddressError(f"{text} holds '..', which object stores take for a name; write the address out")
    return ObjectPath(f"{scheme}://{bucket}", PurePosixPath(key.strip("/")))


def _describe_scheme(scheme: str) -> str:
    """Say why no table can be there, as the rest of a sentence."""
    name = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
    if name in STORES:
        form = "az://CONTAINER/FOLDER" if name == "az" else f"{name}://BUCKET/FOLDER"
        return f"is written {form} here"
    if name == "hdfs":
        return (
            "is on 'hdfs', which is read as input.path only: it has no conditional put, by which runs keep out of each "
            "other's way"
        )
    return f"is on '{scheme}', which is no store that this program knows"
