"""Tokens of an object's last writers, which each conditional put leaves in the object's attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import StorageError

_KEY = "writers"
_MOST_KEPT = 32  # S3 takes 2 KB of attributes


@dataclass(frozen=True)
class WriteTokens:
    """How many conditional puts made an object what it is, and the tokens of the last ones, newest last."""

    count: int
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> WriteTokens:
        """Return the tokens in an object's attributes; none if it was written otherwise."""
        count, *tokens = attributes.get(_KEY, "0").split()
        return cls(int(count), tuple(tokens))

    @property
    def attributes(self) -> dict[str, str]:
        """What is stored with the object."""
        return {_KEY: " ".join([str(self.count), *self.tokens])}

    def with_next(self, token: str) -> WriteTokens:
        """Return the tokens after one more put."""
        return WriteTokens(self.count + 1, (*self.tokens, token)[-_MOST_KEPT:])

    def are_in(self, attributes: Mapping[str, str], address: str) -> bool:
        """Whether the put of the newest token was done, by the attributes that its object has now.

        Raises
        ------
        StorageError : so many others wrote since that its place is not kept any more.
        """
        now = WriteTokens.of(attributes)
        place = len(now.tokens) - 1 - (now.count - self.count)
        if place < 0:
            raise StorageError(
                f"{address} was replaced {now.count - self.count} times since a put whose answer was lost, so whether "
                "that one was done is not known any more; look at what it holds, and run again"
            )
        return place < len(now.tokens) and now.tokens[place] == self.tokens[-1]
