"""What the swaps of a published name say of its releases: which one led to which, and which were withdrawn.

The ancestors of a release are what readers had before it, nearest first, each of an earlier date than the one before.
What readers were taken back from leads to nothing any more. All of it follows from the history alone, so that it stays
known when releases are removed. Standard library only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from graphquilt.pointers import Pointers, Swap


@dataclass(frozen=True)
class Ancestry:
    """The descent of the releases that readers ever had.

    Attributes
    ----------
    ancestors : by release, its nearest ancestor; None where there is none.
    withdrawn : by release, the rollback that took readers back from it; not those that readers have got once more.
    is_complete : whether the history has all swaps from the first on; else some ancestors are not known.
    """

    ancestors: Mapping[str, str | None]
    withdrawn: Mapping[str, Swap]
    is_complete: bool

    def line_of(self, release: str | None) -> Iterator[str]:
        """Yield a release and its ancestors, nearest first."""
        while release is not None:
            yield release
            release = self.ancestors.get(release)


def trace(pointers: Pointers) -> Ancestry:
    """Return the descent of a name's releases.

    A rollback withdraws the release that readers had, and those of its ancestors that it passes by. One that is
    current again is withdrawn no more, nor are the ancestors that were withdrawn together with it.
    """
    swaps = [*pointers.history, *([pointers.at] if pointers.at and pointers.at not in pointers.history else [])]
    ancestors: dict[str, str | None] = {}
    withdrawn: dict[str, Swap] = {}
    is_complete = [swap.sequence for swap in swaps] == list(range(len(swaps)))  # the first points at nothing
    ancestry = Ancestry(ancestors, withdrawn, is_complete)
    dates: dict[str, str] = {}
    current: str | None = None
    for swap in swaps:
        release, date = swap.release, swap.data_date
        if not release:
            continue
        dates[release] = date
        if release not in ancestors:
            earlier = (name for name in ancestry.line_of(current) if dates[name] < date and name not in withdrawn)
            ancestors[release] = next(earlier, None)
        if mark := withdrawn.pop(release, None):
            for name in [name for name in ancestry.line_of(release) if withdrawn.get(name) is mark]:
                del withdrawn[name]
        if swap.why == "rollback":
            for name in takewhile(lambda name: dates[name] >= date, ancestry.line_of(current)):  # noqa: B023
                if name != release:
                    withdrawn.setdefault(name, swap)
        current = release
    return ancestry


def withdrawal_facts(rollback: Swap | None) -> dict[str, str] | None:
    """Return when and why readers were rolled back, as commands print it as JSON; None: they were not."""
    return {"at": rollback.at, "reason": rollback.reason} if rollback else None


def describe_withdrawal(at: str, reason: str) -> str:
    """Return when readers were rolled back, and why."""
    return f"at {at} (reason: {reason or 'none was given'})"
