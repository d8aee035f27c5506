"""JSON objects that carry their own checksum, so that each can be trusted, or not, without another file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "checksum"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with a last key ``checksum``: the sha256 of the others as canonical JSON."""
    content = {key: part for key, part in value.items() if key != SEAL}
    return {**content, SEAL: _checksum(content)}


def is_sealed(value: Mapping[str, Any]) -> bool:
    """Whether an object is what it was when it was sealed."""
    return value.get(SEAL) == _checksum({key: part for key, part in value.items() if key != SEAL})


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
