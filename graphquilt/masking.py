"""Secrets in addresses and settings: refused as input, masked in all output.

Every user of the machine can read command lines (``ps``), and addresses go into logs, manifests and published metadata.
So secrets come from the environment or a provider's credential chain, never from an address.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MASK = "***"

_SCHEME = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*)://")
_TOKEN = re.compile(r"[^\s\"'<>\\]*")
_AUTHORITY = re.compile(r"[^/?#]*")
_OPTION = re.compile(r"([?&;#])([^=?&;#\s]+)=([^&;#\s\"'\\]+)")
_WORDS = (
    r"secret|passw(?:or)?d|passphrase|token|signature|credential"
    r"|(?:access|account|api|shared|storage|private)[._-]?(?:access)?[._-]?key|fs\.azure\.sas"
    r"|encryption[._-]?key|jwt|(?<![^\W_])(?:sig|pwd|sas|pw|pass)(?=$|=)"
)
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
#: Names of options of an address that hold a secret; elsewhere they are too short to tell.
_SECRET_OPTION = re.compile(r"key|auth|code|delegation", re.IGNORECASE)
#: Misspelt addresses: one slash or none behind the scheme of a store, or a quoted colon. Their secrets count too.
_SLIP = re.compile(
    r"(?<![\w.-])(s3[an]?|gc?s|abfss?|az|azure|wasbs?|hdfs):/?(?!/)(?=[^\s\"'/:@]+:.*@)", re.IGNORECASE | re.DOTALL
)
_QUOTED_COLON = re.compile(r"(://[^/?#@\s\"']*?)%3A", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
#: Settings in any text: "spark.hadoop.fs.s3a.secret.key=...", "AccountKey=...;", "-Dhttp.proxyPassword=...".
#: Not "/token=abc/", which is a folder.
_NAMED = re.compile(rf"(?<![/\w.-])([\w.-]*(?:{_WORDS})[\w.-]*)\s*=\s*[\"']?([^\s;&\"'\\]+)", re.IGNORECASE)
#: Ends of names of settings that say how or where, and hold no secret.
_HARMLESS_NAME = re.compile(
    r"(provider|kind|type|file|path|enabled|class|regex|interval|binding|endpoint|alias|service|renewal|ratio|impl"
    r"|length|lifetime|ttl|size)s?$",
    re.IGNORECASE,
)
_HARMLESS_VALUE = re.compile(r"\*\*\*|true|false|none|ccache|keytab|\d{1,3}(\.\d+)?[\]}]*|\{date\}", re.IGNORECASE)
#: Schemes whose addresses have no port: a colon before the path is no port.
_STORES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "azure", "wasb", "wasbs", "adl", "oss"})
_WEB = frozenset({"http", "https", "ftp", "ftps", "git"})

_AWS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE, or the machine's role"
_AZURE = "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or the machine's identity"
_GOOGLE = "GOOGLE_APPLICATION_CREDENTIALS (the path of a key file), or the machine's service account"
_WAYS: Mapping[str, str] = {
    **dict.fromkeys(("s3", "s3a", "s3n"), f"by the environment: {_AWS}"),
    **dict.fromkeys(("gs", "gcs"), f"by the environment: {_GOOGLE}"),
    **dict.fromkeys(("abfs", "abfss", "az", "azure", "wasb", "wasbs", "adl"), f"by the environment: {_AZURE}"),
    **dict.fromkeys(("hdfs", "viewfs", "webhdfs"), "by a Kerberos ticket (kinit, KRB5CCNAME) or HADOOP_USER_NAME"),
    "sc": "by the environment: SPARK_CONNECT_AUTHENTICATE_TOKEN, or an address in SPARK_REMOTE",
    **dict.fromkeys(("tcp", "tls"), "by certificates named in Dask's own settings (distributed.comm.tls)"),
}
_OTHER_WAYS = (
    "by the environment or a credential chain (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, AZURE_CLIENT_ID, ...); "
    "settings of Spark in a spark-defaults.conf that you alone can read (SPARK_CONF_DIR)"
)


def mask_secrets(text: str) -> str:
    """Return a text with the secrets of its addresses and settings replaced by ``***``."""
    return _mask_text(text, lambda rest: _TOKEN.match(rest)[0])  # type: ignore[index]  # it matches "", too


def secret_in(value: str) -> str | None:
    """Return, as the end of a sentence, a safe way to give the secret in a value; None if it holds no secret.

    An address in a value may contain blanks and quotes; in a text they end it.
    """
    if _mask_text(value, lambda rest: rest) == value:
        return None
    scheme = _SCHEME.search(value)
    return _WAYS.get(scheme[1].lower(), _OTHER_WAYS) if scheme else _OTHER_WAYS


def secret_of_argument(arguments: Sequence[str]) -> str | None:
    """Return the sentence that refuses a command line with a secret on it; None if there is none."""
    before = ""
    for argument in arguments:
        if way := secret_in(argument):
            option = argument if argument.startswith("-") else before
            return _refusal(option.partition("=")[0] if option.startswith("--") else "an argument", way)
        before = argument
    return None


def secret_of_setting(raw: Any) -> str | None:
    """Return the sentence that refuses a nested mapping of settings with a secret in it; None if there is none."""
    for name, value in _strings(raw, ""):
        way = secret_in(value) or secret_in(f"{name.rpartition('.')[2]} = {value}")
        if way:
            return _refusal(mask_secrets(name), way)
    return None


def _refusal(name: str, way: str) -> str:
    return (
        f"{name} holds a secret (a password, key or token), and would be seen in process lists, logs and tables. Take "
        f"it out, change it where it is valid, since it may have been seen, and give it {way}"
    )


def _strings(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield name or "a key", str(key)
            yield from _strings(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, name)
    elif isinstance(value, str):
        yield name, value


def _mask_text(text: str, end: Callable[[str], str]) -> str:
    plain = _SLIP.sub(r"\1://", _QUOTED_COLON.sub(r"\1:", text))
    result = _mask_plain(_BEARER.sub(rf"\1{MASK}", plain), end)
    return text if result == plain else result


def _mask_plain(text: str, end: Callable[[str], str]) -> str:
    if "://" not in text:
        return _NAMED.sub(_without_value, text) if "=" in text else text
    starts = [match.start() for match in _SCHEME.finditer(text)]
    parts = [_NAMED.sub(_without_value, text[: starts[0]])] if starts else [text]
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        scheme, _, rest = text[start:stop].partition("://")
        address = end(rest)
        safe = _OPTION.sub(_without_option, _without_user(scheme.lower(), address))
        parts += [scheme, "://", _NAMED.sub(_without_value, safe), _NAMED.sub(_without_value, rest[len(address) :])]
    return "".join(parts)


def _without_user(scheme: str, rest: str) -> str:
    """Mask ``user:password@``; a password may contain unquoted "/" and "@"."""
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]  # it matches "", too
    user, at, _ = authority.rpartition("@")
    if at and (user.partition(":")[2] or (scheme in _WEB and user)):
        return f"{MASK}@{rest.rpartition('@')[2]}" if "@" in rest[len(authority) :] else MASK + rest[len(user) :]
    if at or ":" not in authority or authority.startswith("["):
        return rest
    before, _, after = authority.partition(":")
    if "@" in rest and not (after.isdecimal() and scheme not in _STORES):
        return f"{MASK}@{rest.rpartition('@')[2]}"
    if scheme in _STORES and after and not after.isdecimal():
        return f"{before}:{MASK}{rest[len(authority) :]}"
    return rest


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.search(name)


def _without_option(match: re.Match[str]) -> str:
    is_secret = _is_secret(match[2]) or _SECRET_OPTION.fullmatch(match[2])
    return f"{match[1]}{match[2]}={MASK}" if is_secret else match[0]


def _without_value(match: re.Match[str]) -> str:
    if not _is_secret(match[1]) or _HARMLESS_VALUE.fullmatch(match[2]):
        return match[0]
    return match[0][: match.start(2) - match.start()] + MASK
