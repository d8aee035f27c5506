"""Print the vector that a model trained on events of a day may see of an item, by Feast: point in time, and online.

graphquilt export --workspace WORKSPACE --format feast --out FEATURES
python examples/consumers/feast_features.py FEATURES ITEM 2024-06-02
"""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
from feast import FeatureStore

from graphquilt import ExportedVectors

FEATURES = ["item_embeddings:embedding", "item_embeddings:degree"]


def vectors(place: str, item: str | int, day: str) -> tuple[list | None, list]:
    """Return an item's row as of the end of a day, None if there was none yet; and the row that serving gets."""
    repository = str(ExportedVectors.open(place).folder)
    subprocess.run([Path(sys.executable).with_name("feast"), "--chdir", repository, "apply"], check=True)
    store = FeatureStore(repo_path=repository)
    events = pd.DataFrame({"item_id": [item], "event_timestamp": [pd.Timestamp(day, tz="UTC")]})
    then = store.get_historical_features(entity_df=events, features=FEATURES).to_df()["embedding"][0]
    store.materialize(datetime(1970, 1, 1), datetime(2100, 1, 1))
    now = store.get_online_features(features=FEATURES, entity_rows=[{"item_id": item}]).to_dict()["embedding"][0]
    return (None if then is None else [float(x) for x in then]), list(now)


if __name__ == "__main__":
    place, item, day = sys.argv[1:]
    then, now = vectors(place, int(item) if item.isdecimal() else item, day)
    print(f"as of {day}: {then and then[:3]}; now: {now[:3]}")
