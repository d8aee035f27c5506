"""Sentences for what an object store refuses or fails at. What the store's client says is quoted without secrets."""

import re

from graphquilt.errors import StoreError
from graphquilt.masking import mask_secrets
from graphquilt.rights import describe_denial, is_denied

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|InvalidBucketName|The specified bucket does not exist")
#: Places that hand out credentials. A failure there means that none are in the environment.
_CREDENTIALS = re.compile(
    r"https?://(169\.254\.\d+\.\d+|metadata\.google\.internal|login\.microsoftonline\.com|sts\.[\w.-]*amazonaws\.com"
    r"|oauth2\.googleapis\.com)[:/]"
)
_RETRIES = re.compile(r"retries: (\d+),\s+max_retries: (\d+)")
#: Why a connection failed, in the words of obstore's errors.
_FAULTS = (
    ("incorrectly configured region", "the bucket is in another region"),
    ("dns error", "its host name is unknown"),
    ("Connection refused", "the connection was refused"),
    ("certificate", "its certificate is not trusted"),
    ("InvalidContentType", "it does not speak https"),
    ("TimedOut", "it did not answer in time"),
    ("timed out", "it did not answer in time"),
)
_BROKEN = "the connection broke"


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status in an error of obstore; None if no answer came."""
    status = _STATUS.search(str(error))
    return int(status.group(1)) if status else None


def is_missing_bucket(error: BaseException) -> bool:
    """Whether the bucket is missing, and not only an object in it."""
    return _NO_BUCKET.search(str(error)) is not None


def store_error(error: BaseException, address: str, endpoint: str | None) -> StoreError:
    """Return the error to raise for one of obstore's, with a sentence that says what to do."""
    bucket = "/".join(address.split("/", 3)[:3])
    store = f"the store of {bucket}" + (f" at {mask_secrets(endpoint)}" if endpoint else "")
    text, status = str(error), status_of(error)
    if is_missing_bucket(error):
        return StoreError(f"{bucket} does not exist; make this bucket, or correct the address")
    if _CREDENTIALS.search(text):
        return StoreError(f"no credentials for {bucket} are in the environment, and this machine has no role either")
    if status in (401, 403) or is_denied(error):
        return StoreError(_with_code(describe_denial(error, address), text))
    if status is None:
        reason = next((reason for words, reason in _FAULTS if words in text), _BROKEN)
        return StoreError(
            f"{store} can't be reached: {reason}; check endpoint, region and network",
            is_repeatable=reason == _BROKEN and _has_retries_left(text),
        )
    if status in (429, 503):
        return StoreError(
            f"{store} has answered {address} with status {status} (too many requests) for too long; "
            "run again with fewer workers, or when it is less busy",
            is_busy=True,
        )
    # 409: it is at work on a request that this one would meet.
    return StoreError(
        _with_code(f"{store} has answered {address} with status {status}", text), is_repeatable=status == 409
    )


def _has_retries_left(text: str) -> bool:
    """Whether obstore gave up before its last try, as it does in the middle of an answer, or was to try only once."""
    retries = _RETRIES.search(text)
    return retries is None or retries.group(2) == "0" or int(retries.group(1)) < int(retries.group(2))


def _with_code(sentence: str, text: str) -> str:
    code = _CODE.search(text)
    return f"{sentence} ({code.group(1)})" if code else sentence
