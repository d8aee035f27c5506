"""A reader who may not look at a release hears that, and not that it is damaged."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphquilt.rights import describe_denial, is_denied
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.other_user import as_another_user

ROOT = Path(__file__).parents[2]

#: All is imported while that user still may read everything: the table is opened once before.
OPEN_AS_NOBODY = """
import os, sys
from graphquilt import EmbeddingTable, TableError
EmbeddingTable.open(sys.argv[1]).close()
os.chmod(sys.argv[2], 0)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    EmbeddingTable.open(sys.argv[1])
except TableError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "barred",
    [
        *("", "published", "published/default", "published/default/CURRENT.json", "published/default/releases"),
        *(
            "{release}",
            "{release}/manifest.json",
            "{release}/node_embeddings",
            "{release}/node_embeddings/part-00000.parquet",
        ),
    ],
)
def test_no_right_is_said_as_that(shared_folder: Path, barred: str) -> None:
    as_another_user()
    workspace = shared_folder / "work"
    publish_nodes(workspace, random_nodes(np.random.default_rng(0), {"user": 9}))
    release = next((workspace / "published/default/releases").iterdir())
    place = workspace / barred.format(release=release.relative_to(workspace))
    command = [sys.executable, "-c", OPEN_AS_NOBODY, str(workspace), str(place)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    place.chmod(0o700)
    assert re.search(r"uid 65534\)? has no right to", said)
    assert f"{place} (it belongs to" in said or f"({place} belongs to" in said
    assert "mode 0000" in said
    assert "damaged" not in said


@pytest.mark.parametrize(
    ("error", "is_right"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), True),
        (OSError(errno.EROFS, "Read-only file system", "/x"), True),
        (
            OSError("When reading information for key 'x' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject"),
            True,
        ),
        (OSError("google::cloud::Status(PERMISSION_DENIED: ...)"), True),
        (OSError("HTTP status 404 during HeadObject"), False),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), False),
        (OSError("Couldn't deserialize thrift: TProtocolException"), False),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), False),
    ],
)
def test_what_is_a_matter_of_rights(error: OSError, is_right: bool) -> None:
    assert is_denied(error) is is_right
    if is_right:
        assert ("read-only" in describe_denial(error)) == (error.errno == errno.EROFS)
        assert ("credentials" in describe_denial(error, "s3://b/x")) == (error.errno is None)
