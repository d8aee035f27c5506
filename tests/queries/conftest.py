"""Queries are asked through the command line, as in ``tests/jobs``."""

from tests.jobs.conftest import _one_machine, call_fixture
from tests.object_store import bucket, moto_endpoint, object_store

__all__ = ["_one_machine", "bucket", "call_fixture", "moto_endpoint", "object_store"]
