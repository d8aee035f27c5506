"""Train a LambdaMART ranker with and without features of the table, and say what they are worth.

python examples/consumers/ranker.py --fit TABLE KNOWN WANTED --test TABLE KNOWN WANTED

TABLE   a release, or a workspace, whose run has seen the pairs in KNOWN and no others
KNOWN   Parquet file of pairs (columns src, dst): of these are the features
WANTED  Parquet file of later or hidden pairs: these are to be ranked on top

The ranker is fitted on one release and judged on another. Their space_id must be equal.
"""

import argparse
from collections.abc import Iterator, Sequence

import lightgbm
import numpy as np
import pyarrow.parquet as pq
from scipy import sparse

from graphquilt import EmbeddingTable

CANDIDATES, TOP = 100, 20
#: What a ranker has without the table: how active, how popular, and how often items are taken together.
PLAIN = ["user degree", "item degree", "mean degree of the item's users", "log item degree*", "co-visits*", "expected*"]
#: What the table adds. A star: standardised within the candidates of a user, so that users can be compared.
OF_VECTORS = ["dot*", "cosine*", "largest cosine to an item of the user*", "mean of the five largest*"]
#: Where boosting starts: what ranks best alone, of the columns that a ranker has.
START = {"ranker without": {"expected*": 1.0}, "ranker with": {"expected*": 0.5, "dot*": 1.0}}


def read_pairs(path: str, users: np.ndarray, items: np.ndarray) -> sparse.csr_array:
    """Return pairs of nodes that a table has as a matrix of ones, in the table's order of ids."""
    table = pq.read_table(path, columns=["src", "dst"])
    src, dst = table["src"].to_numpy(), table["dst"].to_numpy()
    is_known = np.isin(src, users) & np.isin(dst, items)
    place = np.searchsorted(users, src[is_known]), np.searchsorted(items, dst[is_known])
    return sparse.csr_array((np.ones(len(place[0]), np.float32), place), (len(users), len(items)))


def standardise(scores: np.ndarray) -> np.ndarray:
    """Return scores with mean 0 and deviation 1."""
    return (scores - scores.mean()) / (scores.std() + 1e-9)


def candidates(place: str, known_path: str, wanted_path: str, most_users: int) -> Iterator[tuple]:
    """Yield (features, labels, number of wanted items) of a user: of its best unknown items by dot product."""
    with EmbeddingTable.open(place) as table:
        (users, user_rows), (items, item_rows) = table.to_numpy("user"), table.to_numpy("item")
    known, wanted = read_pairs(known_path, users, items), read_pairs(wanted_path, users, items)
    user_degree, item_degree = known.sum(axis=1), known.sum(axis=0)
    by_item = known.T.tocsr()
    crowd = by_item @ user_degree / np.maximum(item_degree, 1)
    balance = 1 / np.sqrt(np.maximum(item_degree, 1))
    unit = item_rows / np.maximum(np.linalg.norm(item_rows, axis=1, keepdims=True), 1e-12)
    some_users = np.random.default_rng(0).permutation(np.flatnonzero(np.diff(wanted.indptr)))[:most_users]
    for user in some_users.tolist():
        own, later = (pairs.indices[pairs.indptr[user] : pairs.indptr[user + 1]] for pairs in (known, wanted))
        dot = item_rows @ user_rows[user]
        dot[own] = -np.inf
        best = np.sort(np.argpartition(-dot, CANDIDATES)[:CANDIDATES])
        weight_of_user = by_item[own].T @ balance[own]  # larger where it has more, and rarer, items of this user
        covisits = (by_item[best] @ weight_of_user) * balance[best]
        degree = item_degree[best]
        plain = [np.full(CANDIDATES, user_degree[user]), degree, crowd[best]]
        plain += map(standardise, (np.log1p(degree), covisits, covisits * degree**0.25))
        alike = np.sort(unit[best] @ unit[own].T, axis=1)[:, ::-1]
        of_vectors = (dot[best], unit[best] @ user_rows[user], alike[:, 0], alike[:, :5].mean(axis=1))
        yield np.column_stack([*plain, *map(standardise, of_vectors)]), np.isin(best, later), len(later)


def ndcg(scores: np.ndarray, labels: np.ndarray, wanted: int) -> float:
    """NDCG of a user's first 20; what is wanted and no candidate counts as missed."""
    discount = 1 / np.log2(np.arange(2, TOP + 2))
    hits = labels[np.argsort(-scores, kind="stable")[:TOP]]
    return float(hits @ discount / discount[: min(wanted, TOP)].sum())


class Ranker:
    """LambdaMART on some columns of the candidates of many users."""

    def __init__(self, fit: list[tuple], columns: list[str], start: dict[str, float]) -> None:
        names = PLAIN + OF_VECTORS
        self._columns = [names.index(name) for name in columns]
        self._start = np.array([start.get(name, 0.0) for name in names])
        rows, labels = np.vstack([one[0] for one in fit]), np.hstack([one[1] for one in fit])
        keys = {"objective": "lambdarank", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 500, "seed": 0}
        keys |= {"lambda_l2": 5, "lambdarank_truncation_level": 30, "num_threads": 2, "verbose": -1}
        data = lightgbm.Dataset(
            rows[:, self._columns], labels, group=[CANDIDATES] * len(fit), init_score=rows @ self._start
        )
        self._model = lightgbm.train({**keys, "deterministic": True}, data, num_boost_round=200)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the scores of a user's candidates."""
        return self._model.predict(features[:, self._columns]) + features @ self._start


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Print the mean NDCG@20 of the dot product and of both rankers, and return it by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--fit", "--test"):
        parser.add_argument(name, nargs=3, required=True, metavar=("TABLE", "KNOWN", "WANTED"))
    parser.add_argument("--users", type=int, default=2_000, help="users of each side (default: 2000)")
    options = parser.parse_args(argv)
    spaces = {EmbeddingTable.open(place[0]).space_id for place in (options.fit, options.test)}
    if len(spaces) > 1:
        parser.error("the space_id of the two tables differs: a model of one can't read the other")

    fit = [one for one in candidates(*options.fit, options.users) if one[1].any()]
    test = list(candidates(*options.test, options.users))
    dot = (PLAIN + OF_VECTORS).index("dot*")
    means = {"dot product": np.mean([ndcg(features[:, dot], *rest) for features, *rest in test])}
    for name, columns in {"ranker without": PLAIN, "ranker with": PLAIN + OF_VECTORS}.items():
        ranker = Ranker(fit, columns, START[name])
        means[name] = np.mean([ndcg(ranker.scores(features), *rest) for features, *rest in test])
    for name, value in means.items():
        print(f"{name:<15} ndcg@{TOP} {value:.4f}")
    return means


if __name__ == "__main__":
    main()
