from __future__ import annotations

from pathlib import Path

import pytest

from graphquilt.locations import AddressError, parse_location


def test_a_location_is_what_its_address_says() -> None:
    assert parse_location("file:///a/b") == parse_location("/a/b") == Path("/a/b")
    folder = parse_location("s3://bucket//a/b/")
    assert str(folder) == "s3://bucket/a/b"
    assert parse_location(str(folder / "s3:" / "x")).parent.parent == folder  # names are no schemes
    assert parse_location("./s3:/x") == Path("s3:/x").absolute()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("hdfs://node/w", "'hdfs', which is read as input.path only: it has no conditional put"),
        ("ftp://node/w", "'ftp', which is no store .* tables are in a folder, or on s3://, gs:// or az://"),
        ("S3://bucket/w", "is written s3://BUCKET/FOLDER"),
        ("s3a://bucket/w", "is written s3://BUCKET/FOLDER"),
        ("abfss://c@account.dfs.core.windows.net/w", "is written az://CONTAINER/FOLDER"),
        ("s3:/bucket/w", "one slash behind 's3:'"),
        ("file:/w", "one slash behind 'file:'"),
        ("s3:///w", "names no bucket"),
        ("s3://bucket/../w", "holds '..'"),
    ],
)
def test_an_address_that_no_tables_can_be_at_is_refused_with_what_works(address: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        parse_location(address)
