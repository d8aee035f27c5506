from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401
