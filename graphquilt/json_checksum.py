"""JSON objects with a checksum of their own: a damaged one is noticed without any other file."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


def add_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with a last key ``checksum``: the sha256 of all other keys as canonical JSON."""
    content = {key: part for key, part in value.items() if key != CHECKSUM}
    return {**content, CHECKSUM: _checksum(content)}


def has_valid_checksum(value: Mapping[str, Any]) -> bool:
    """Whether an object still has the content that its checksum was computed of."""
    return value.get(CHECKSUM) == _checksum({key: part for key, part in value.items() if key != CHECKSUM})


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
