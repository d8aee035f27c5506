"""The consumer's DAG: it runs on the asset, takes the release of its event, and stops at another space."""

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("default")]

EXTRA = {"release": "2026-05-01-a", "space_id": "new", "path": "s3://lake/p/releases/2026-05-01-a/node_embeddings"}


@pytest.fixture
def release(dag_bag: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task that reads the event, given the space that the ranker was trained with."""
    dag = dag_bag.dags["ranker_features"]
    (vectors,) = dag.get_task("release").inlets
    assert dag.timetable.asset_condition.objects == (vectors,)
    function = dag.get_task("release").python_callable

    def release(trained: str | None) -> str:
        monkeypatch.delenv("AIRFLOW_VAR_RANKER_SPACE_ID", raising=False)
        if trained:
            monkeypatch.setenv("AIRFLOW_VAR_RANKER_SPACE_ID", trained)
        events = [SimpleNamespace(extra={**EXTRA, "path": "/an/earlier/one"}), SimpleNamespace(extra=EXTRA)]
        folder: str = function({vectors: events})
        return folder

    return release


@pytest.mark.parametrize("trained", [None, "new"])
def test_it_exports_the_release_of_its_newest_event(release: Any, trained: str | None) -> None:
    assert release(trained) == "s3://lake/p/releases/2026-05-01-a"


def test_vectors_of_another_space_stop_it(release: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="of space new, and the ranker knows old: train it"):
        release("old")
