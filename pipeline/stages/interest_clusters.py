"""The whole graph -> interest_clusters, like_shares."""

import logging

from pipeline import codec
from pipeline.codes.code_tasks import CLUSTERS, NODES
from pipeline.codes.interest_tasks import InterestClustersPayload, make_interest_clusters
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.ingest.figures import IndexFigures
from pipeline.planning.code_costs import check_interests_fit
from pipeline.stages.night_codes import INTERESTS, describe_origin, log_kept, open_interests
from pipeline.stages.outcome import Outcome, describe_task_files
from pipeline.tasks import TaskFolder
from pipeline.workspace import Workspace
from schemas.tables import INTEREST_CLUSTERS, LIKE_SHARES

log = logging.getLogger(__name__)


def make_clusters_of_interests(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Make the clusters that sources' interests are in, and what the sources of each are interested in.

    Raises
    ------
    ConfigError : the graph does not fit a worker.
    """
    index = workspace.figures("node_index", IndexFigures)
    check_interests_fit(config, index.nodes, index.edges)
    graph, graph_records = whole_graph(engine, config, workspace)
    sides = tuple(sorted({span_of(side, index.types) for side in (config.sides.rows, config.sides.columns)}))
    source, target = (index.types[name] for name in (config.input.source_type, config.input.target_type))
    payload = InterestClustersPayload(
        graph.nodes, graph.edges, sides, source, target, config.interests.clusters, open_interests(workspace)
    )
    record = TaskFolder(engine, workspace.work("embed") / "interests").run(make_interest_clusters, "clusters", payload)
    figures = record.result
    log.info("stage=embed interest_clusters=%d resolution=%.4g", figures.clusters, figures.resolution)
    log_kept(INTERESTS, figures.kept)
    origin = describe_origin(INTERESTS, config, workspace)
    tables = {
        INTEREST_CLUSTERS.name: describe_task_files([record], NODES),
        LIKE_SHARES.name: describe_task_files([record], CLUSTERS),
    }
    return Outcome(
        tables, {}, [*graph_records, record], {INTEREST_CLUSTERS.name: {**codec.to_values(figures), **origin}}
    )
