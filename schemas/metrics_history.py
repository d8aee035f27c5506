"""The contract of the history of a published name: every figure of every night, refused ones too."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.contracts import Rule, TableContract, count_unless

KINDS = ("metric", "gate", "stage")
VERDICTS = ("passed", "accepted", "refused")

_NULLABLE = ("space_id", "pair_source", "value", "bound", "baseline")
_TYPES = {
    "data_date": pa.date32(),
    "release": pa.string(),  # what the night's release is called, or would have been
    "recorded_at": pa.timestamp("ms", tz="UTC"),
    "run_id": pa.string(),
    "verdict": pa.string(),  # of the gates on the night
    "space_id": pa.string(),  # null: no vectors
    "pair_source": pa.string(),  # where the pairs that were scored came from; null: there were none
    "kind": pa.string(),
    "name": pa.string(),  # "ranking.recall@20", "min_pairs_kept pairs_kept", "embed.seconds"
    "value": pa.float64(),  # null: not measured
    "bound": pa.float64(),  # of a gate, in the unit of its value; null: not judged
    "baseline": pa.float64(),  # the figure of the release that a gate compared with
}

METRICS_HISTORY = TableContract(
    name="metrics_history",
    version=1,
    schema=pa.schema([pa.field(name, dtype, nullable=name in _NULLABLE) for name, dtype in _TYPES.items()]),
    key=("release", "kind", "name"),
    rules=(
        Rule(f"a kind is one of {', '.join(KINDS)}", count_unless(lambda t: pc.is_in(t["kind"], pa.array(KINDS)))),
        Rule(
            f"a verdict is one of {', '.join(VERDICTS)}",
            count_unless(lambda t: pc.is_in(t["verdict"], pa.array(VERDICTS))),
        ),
    ),
)
