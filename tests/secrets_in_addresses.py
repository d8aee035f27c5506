"""Random secrets, and random addresses and settings that hold one."""

from __future__ import annotations

import string

from hypothesis import strategies as st

#: Long enough, and with a digit, so that none is a piece of a path or of a message's own words, which are drawn, too.
SECRETS = st.text(string.ascii_letters + string.digits + "/+-_.~!$*()%", min_size=12, max_size=40).filter(
    lambda text: (
        (text[0].isalpha() and text[-1].isalnum() and "://" not in text and not text.endswith("date"))
        and any(character.isdigit() for character in text)
    )
)
_SCHEMES = st.sampled_from(["s3", "s3a", "gs", "abfs", "abfss", "az", "hdfs", "wasbs", "https", "tcp"])
_NAMES = st.sampled_from(
    [
        *("secret_key", "access_key", "session_token", "sig", "password", "X-Amz-Signature", "access_token"),
        *("client_secret", "key", "auth", "code", "delegation", "jwt", "pass"),
    ]
)
_SETTINGS = st.sampled_from(
    [
        *("spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key", "spark.authenticate.secret"),
        *("spark.hadoop.fs.azure.account.key.a.dfs.core.windows.net", "spark.ssl.keyPassword", "AccountKey", "-Dx.pwd"),
        *("spark.hadoop.fs.s3a.encryption.key", "sasl_pw", "SharedAccessSignature=sv=1&sig", "pass"),
    ]
)
_KINDS = ["user", "no user", "at sign", "query", "later query", "setting", "list", "slip", "quoted"]


@st.composite
def addresses(draw: st.DrawFn, secret: str) -> str:
    """An address or setting with ``secret`` in it."""
    kind = draw(st.sampled_from(_KINDS))
    scheme, folder = draw(_SCHEMES), draw(st.sampled_from(["", "/x", "/a/b.parquet", "/day={date}/*.csv"]))
    if kind == "setting":
        return f"{draw(_SETTINGS)}={secret}"
    if kind == "user":
        return f"{scheme}://{draw(st.sampled_from(['KEY', 'AKIA123', 'me']))}:{secret}@host{folder}"
    if kind == "slip":
        return f"{draw(st.sampled_from(['s3:/', 's3a:', 'gs:/', 'abfss:/', 'hdfs:/']))}KEY:{secret}@host{folder}"
    if kind == "quoted":
        return f"{scheme}://KEY%3A{secret}@host{folder}"
    if kind == "no user":
        return f"{scheme}://:{secret}@host{folder}"
    if kind == "at sign":
        return f"{scheme}://me:a@{secret}@host{folder}"
    if kind == "list":
        return f"https://host/a.jar,https://me:{secret}@host/b.jar"
    before = "region=eu&" if kind == "later query" else ""
    return f"{scheme}://host{folder}?{before}{draw(_NAMES)}={secret}&sv=1"
