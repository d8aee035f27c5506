"""The two kinds of task of a night: a job by spark-submit, and the gate. Both believe gate.json, not exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset, AssetAlias, BaseOperator, Context, ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowFailException

#: Wrong usage or config, refused by a gate, bad input: another try ends the same way.
FINAL_CODES = (2, 3, 4)
#: In the words of the Spark provider; on Kubernetes the driver's code stands beside spark-submit's.
_EXIT_CODE = re.compile(r"(?:Error|spark exit) code is: (\d+)")


class SparkJob(SparkSubmitOperator):
    """A job whose end is what it wrote to gate.json under the id of this very try.

    In cluster mode spark-submit does not hand back the job's exit code: neither a success nor a failure of it says
    what became of the job. Exit codes 2, 3 and 4 fail at once; anything else, a driver that was lost among it, is
    tried again, which resumes from what is finished.
    """

    template_fields = (*SparkSubmitOperator.template_fields, "workspace", "date", "job_run_id")

    def __init__(
        self, *, workspace: str, date: str, storage_conn_id: str | None = None, arguments: Sequence[str], **kwargs: Any
    ) -> None:
        # Try and task: what an earlier one left is not this one's word.
        self.job_run_id = "{{ run_id }}/{{ task.task_id }}/{{ ti.try_number }}"
        self.workspace, self.date, self.storage_conn_id = workspace, date, storage_conn_id
        place = ["--workspace", workspace, "--date", date, "--run-id", self.job_run_id]
        super().__init__(application_args=[*arguments, *place], **kwargs)

    def execute(self, context: Context) -> None:
        """Submit the job, and judge its end.

        Raises
        ------
        AirflowFailException : it ended with code 2, 3 or 4.
        AirflowException : it failed otherwise, or nothing says that it came to an end.
        """
        self.application_args = [argument for argument in self.application_args or [] if argument]  # flags that are off
        failure: Exception | None = None
        try:
            super().execute(context)
        except (AirflowException, RuntimeError) as error:
            failure = error
        gate = read_gate(self.workspace, self.date, self.storage_conn_id) or {}
        if gate.get("run_id") == self.job_run_id and gate.get("exit_code") is not None:
            code, reason = gate["exit_code"], describe(gate)
        else:
            codes = _EXIT_CODE.findall(str(failure))
            code = int(codes[-1]) if codes else None
            reason = f"the job left no last word: {failure or 'spark-submit says that all is well'}"
        if code in FINAL_CODES:
            raise AirflowFailException(reason) from failure
        if failure is not None or code != 0:
            raise AirflowException(reason) from failure


class Gate(BaseOperator):
    """Green only if this run published a release; tells consumers of its tables if readers got them now."""

    template_fields = ("workspace", "date")

    def __init__(
        self, *, graph: str, workspace: str, date: str, jobs: Sequence[str], storage_conn_id: str | None, **kwargs: Any
    ) -> None:
        # An alias, since an outlet that is an asset would tell its consumers of every green run.
        super().__init__(outlets=[AssetAlias(graph)], **kwargs)
        self.graph, self.workspace, self.date = graph, workspace, date
        self.jobs, self.storage_conn_id = tuple(jobs), storage_conn_id
        self.facts: dict[str, Any] = {}  # of the release, for OpenLineage

    def execute(self, context: Context) -> dict[str, Any]:
        """Return what gate.json says of the release; emit an asset for each of its tables if CURRENT moved to it.

        Raises
        ------
        AirflowFailException : nothing was published, and why.
        """
        gate = self._verdict(context)
        facts = {key: gate.get(key) for key in ("release", "date", "verdict", "space_id", "tables", "inputs", "report")}
        self.facts = facts
        if not has_moved(gate, context["dag_run"].start_date):
            self.log.info("%s; no consumer is told: %s", describe(gate), gate.get("current_reason"))
            return facts
        for table, about in gate["tables"].items():
            extra = {**{key: gate[key] for key in ("release", "date", "space_id")}, **about}
            context["outlet_events"][self.outlets[0]].add(Asset(f"{self.graph}/{table}"), extra=extra)
        self.log.info("%s; consumers of %s are told", describe(gate), ", ".join(gate["tables"]))
        return facts

    def _verdict(self, context: Context) -> dict[str, Any]:
        gate = read_gate(self.workspace, self.date, self.storage_conn_id)
        task, run = context["ti"], context["run_id"]
        states = task.get_task_states(task.dag_id, task_ids=list(self.jobs), run_ids=[run]).get(run, {})
        culprit = next((job for job in self.jobs if states.get(job) != "success"), None)
        if gate is None or not str(gate.get("run_id")).startswith(f"{run}/"):
            missing = "gate.json is missing" if gate is None else f"gate.json is of another run, {gate.get('run_id')}"
            raise AirflowFailException(
                f"nothing is known of {self.date}: {missing}, so no job of this run came to an end. See the log of "
                f"{culprit or self.jobs[-1]}"
            )
        if gate.get("exit_code") != 0 or (not gate.get("release") and culprit is None):
            raise AirflowFailException(f"nothing was published: {describe(gate)}")
        if culprit is not None:
            raise AirflowFailException(
                f"nothing is known of {self.date}: {culprit} is '{states.get(culprit)}' without a last word. See its "
                "log, then clear it: it resumes where it stopped"
            )
        return gate

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Return what the release was made of, and its tables with its name as version; called by OpenLineage."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset
        from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

        version = {"version": DatasetVersionDatasetFacet(datasetVersion=self.facts.get("release") or "")}
        places = [split_address(about["path"]) for about in (self.facts.get("tables") or {}).values()]
        return OperatorLineage(
            inputs=[Dataset(*split_address(address)) for address in self.facts.get("inputs") or ()],
            outputs=[Dataset(namespace=store, name=path, facets=version) for store, path in places],
        )


def read_gate(workspace: str, date: str, conn_id: str | None) -> dict[str, Any] | None:
    """Return the verdict on a date: of a folder, or of a store that an Airflow provider or fsspec reads.

    Returns
    -------
    The object in WORKSPACE/runs/<date>/gate.json; None if there is none.

    Raises
    ------
    AirflowFailException : this user may not read it, or it is no verdict. OSError : the store did not answer.
    """
    path = ObjectStoragePath(workspace, conn_id=conn_id) / "runs" / date / "gate.json"
    try:
        gate = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise AirflowFailException(f"nothing is known of {date}: {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise AirflowFailException(f"nothing is known of {date}: {path} is not JSON: {error}") from error
    if not isinstance(gate, dict):
        raise AirflowFailException(f"nothing is known of {date}: {path} holds no JSON object")
    return gate


def split_address(address: str) -> tuple[str, str]:
    """Return store and path of a table as OpenLineage names them: ("s3://bucket", "a/b"), or ("file", "/a/b")."""
    parts = urlsplit(address)
    return (f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")) if parts.netloc else ("file", parts.path)


def has_moved(gate: Mapping[str, Any], start: datetime) -> bool:
    """Whether readers got the release in this run: now, or by an earlier try that died before it could say so."""
    current = gate.get("current") or {}
    if gate.get("current_moved") or current.get("release") != gate["release"] or not current.get("at"):
        return bool(gate.get("current_moved"))
    return datetime.fromisoformat(current["at"]) >= start.replace(microsecond=0)


def describe(gate: Mapping[str, Any]) -> str:
    """Return a verdict as one line for logs and pages."""
    reasons = "; ".join(gate.get("reasons") or ["no reason given"] * (gate.get("exit_code") != 0))
    text = f"{gate.get('date')} is '{gate.get('verdict')}', exit code {gate.get('exit_code')}"
    text += f", release {gate['release']}" if gate.get("release") else ""
    text += f": {reasons}" if reasons else ""
    return f"{text} (report: {gate['report']})" if gate.get("report") else text
