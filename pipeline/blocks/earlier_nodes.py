"""The nodes of a night among those of an earlier one: numbers change, keys don't."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def find_earlier(node_key: NDArray[np.uint64], earlier_key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where nodes stood in the earlier night; (n,) int64, -1 where a node is new.

    Two nodes of one key, as there may be in a graph of 2**32 nodes, both get the first one's place.
    """
    rows = pc.index_in(pa.array(node_key.view(np.int64)), pa.array(earlier_key.view(np.int64)))
    return rows.fill_null(-1).to_numpy().astype(np.int64)
