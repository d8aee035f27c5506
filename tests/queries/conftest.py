"""Queries are asked through the command line, as in ``tests/jobs``."""

from tests.jobs.conftest import _one_machine, call_fixture

__all__ = ["_one_machine", "call_fixture"]
