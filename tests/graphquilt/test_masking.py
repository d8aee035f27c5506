"""Secrets in addresses: recognised wherever they stand, masked in whatever is said; addresses without stay."""

from __future__ import annotations

import logging

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphquilt.masking import mask_secrets, secret_in, secret_of_argument, secret_of_setting
from jobs.logs import MaskingFormatter
from tests.secrets_in_addresses import SECRETS, addresses


@given(st.data(), SECRETS | SECRETS.map(lambda text: f"{text[:3]} \"'&;é{text[3:]}"))
def test_no_secret_is_overlooked(data: st.DataObject, secret: str) -> None:
    address = data.draw(addresses(secret))
    assert secret_in(address)
    for argument in (address, f"--workspace={address}", f"input.path={address}", f'input.path="{address}"'):
        refusal = secret_of_argument(["run", "--config", "c.toml", "--set", argument])
        assert refusal
        assert secret not in refusal
    refusal = secret_of_setting({"input": {"path": "x"}, "attributes": {"user": {"path": [address]}}})
    assert refusal
    assert refusal.startswith("attributes.user.path holds a secret")
    assert secret not in refusal


@given(st.data(), SECRETS)
def test_no_secret_passes_the_mask(data: st.DataObject, secret: str) -> None:
    address = data.draw(addresses(secret))
    for text in (address, f"input {address} can't be opened: Cannot parse URI: '{address}' at 8. Try {address}"):
        said = mask_secrets(text)
        assert secret not in said
        assert mask_secrets(said) == said
    record = logging.LogRecord("pipeline", logging.ERROR, "f", 1, "input=%s", (address,), None)
    assert secret not in MaskingFormatter().format(record)


def test_a_traceback_is_masked_too() -> None:
    try:
        raise OSError("can't reach s3://AKIA:wJalr/XUtn@bucket/x")
    except OSError as error:
        record = logging.LogRecord("jobs", logging.ERROR, "f", 1, "x", (), (OSError, error, error.__traceback__))
    said = MaskingFormatter().format(record)
    assert "wJalr" not in said
    assert "Traceback" in said


@pytest.mark.parametrize(
    "harmless",
    [
        *("s3://bucket/a/b.parquet", "s3://bucket/x?region=eu-west-1&endpoint_override=http://localhost:9000"),
        *("s3://localhost:9000/bucket/x", "s3://bucket/a:b@c/x", "gs://anonymous@bucket/x", "hdfs://nn:8020/user/a@b"),
        *("hdfs://hive@nn:8020/x", "abfss://container@account.dfs.core.windows.net/x?credential_kind=environment"),
        *("sc://h:15002", "sc://h:443/;use_ssl=true;user_id=me"),
        *("tcp://10.0.0.1:8786", "tls://[::1]:8786", "file:///data/a:b@c", "data/token=abc/x.csv", "s3://b/token=1/x"),
        *("https://repo.maven.org/a.jar", "io.graphframes:graphframes-spark4_2.13:0.12.3", "spark.master=local[4]"),
        "spark.hadoop.fs.s3a.aws.credentials.provider=com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
        "spark.kubernetes.authenticate.driver.oauthTokenFile=/run/token",
        *("spark.kerberos.renewal.credentials=ccache", "spark.security.credentials.hive.enabled=false"),
        *("embedding.dim=64", "input.source=token", "input.event_weights={token=1.5}", "who@example.org", "a=b@c:d"),
        "/data/{date}/*.csv",
    ],
)
def test_addresses_without_secrets_are_left_alone(harmless: str) -> None:
    assert mask_secrets(harmless) == harmless
    assert secret_in(harmless) is None


@given(st.text(), st.text())
def test_a_mask_changes_no_text_without_addresses_and_assignments(before: str, after: str) -> None:
    assume("://" not in before + after and "=" not in before + after)
    assert mask_secrets(f"{before} {after}") == f"{before} {after}"


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("s3://K:S@b/x", "AWS_ACCESS_KEY_ID"),
        ("gs://x/y?access_token=abc", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfs://c@a.dfs.core.windows.net/x?sv=1&sig=abc%3D", "AZURE_CLIENT_ID"),
        ("hdfs://u:p@nn:8020/x", "Kerberos"),
        ("tcp://u:p@h:8786", "distributed.comm.tls"),
        ("sc://h:15002/;token=abc;user_id=me", "SPARK_CONNECT_AUTHENTICATE_TOKEN"),
        ("spark.hadoop.fs.s3a.secret.key=abc", "spark-defaults.conf"),
    ],
)
def test_the_refusal_says_how_to_give_it(address: str, way: str) -> None:
    assert way in str(secret_in(address))


def test_the_option_that_holds_it_is_named() -> None:
    assert str(secret_of_argument(["run", "--dask", "tcp://u:p@h:1"])).startswith("--dask holds a secret")
    assert str(secret_of_argument(["run", "--workspace=s3://k:s@h"])).startswith("--workspace holds a secret")
    assert str(secret_of_argument(["init", "s3://k:s@h"])).startswith("an argument holds a secret")
