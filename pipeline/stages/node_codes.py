"""The whole graph -> node_clusters, cluster_codes."""

import logging

from pipeline import codec
from pipeline.codes.code_tasks import CLUSTERS, NODES, CodesPayload, make_codes
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.ingest.figures import IndexFigures
from pipeline.planning.code_costs import check_codes_fit
from pipeline.stages.night_codes import CODES, describe_origin, log_kept, open_codes
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.storage import fingerprint_of
from pipeline.tasks import TaskFolder
from pipeline.workspace import Workspace
from schemas.tables import CLUSTER_CODES, NODE_CLUSTERS

log = logging.getLogger(__name__)


def make_clusters(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Make the clusters of all nodes and the codes of all clusters.

    Raises
    ------
    ConfigError : the graph does not fit a worker.
    """
    index = workspace.figures("node_index", IndexFigures)
    check_codes_fit(config, index.nodes, index.edges)
    graph, graph_records = whole_graph(engine, config, workspace)
    sides = tuple(sorted({span_of(side, index.types) for side in (config.sides.rows, config.sides.columns)}))
    made_of = workspace.fingerprints["layout" if config.has_relations else "index"]
    earlier = open_codes(config, workspace)
    codes_id = earlier.codes_id if earlier else fingerprint_of([made_of, config.codes.keys()])
    payload = CodesPayload(config.codes, graph.nodes, graph.edges, sides, codes_id, earlier)
    record = TaskFolder(engine, workspace.work("embed") / "codes").run(make_codes, "clusters", payload)
    figures = record.result
    log.info(
        "stage=embed clusters=%d rows=%d largest=%d resolution=%.4g modularity=%.4f inversions=%d",
        *(figures.clusters, figures.rows, figures.largest, figures.resolution, figures.modularity, figures.inversions),
    )
    tables = {
        NODE_CLUSTERS.name: describe_task_files([record], NODES),
        CLUSTER_CODES.name: describe_task_files([record], CLUSTERS),
    }
    log_kept(CODES, figures.kept)
    origin = describe_origin(CODES, config, workspace)
    return Outcome(tables, {}, [*graph_records, record], {NODE_CLUSTERS.name: {**codec.to_values(figures), **origin}})
