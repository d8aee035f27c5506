"""Train a LambdaMART ranker with and without features of the table, and say what they are worth.

python examples/consumers/ranker.py --fit TABLE KNOWN WANTED --test TABLE KNOWN WANTED

TABLE   a release, or a workspace, whose run has seen the pairs in KNOWN and no others
KNOWN   Parquet file of pairs (columns src, dst): of these are the features
WANTED  Parquet file of later or hidden pairs: these are to be ranked on top

The ranker is fitted on one release and judged on another. Their space_id must be equal. Some users of the first one
are kept apart: by them the number of trees is chosen. The second one's pairs are looked at once, at the end.
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
RANKERS = {"ranker without": PLAIN, "ranker with": PLAIN + OF_VECTORS}
TREES = (25, 50, 75, 100, 150)
KEYS = {"objective": "lambdarank", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 300, "lambda_l2": 5}
KEYS |= {"lambdarank_truncation_level": 30, "num_threads": 2, "verbose": -1, "seed": 0, "deterministic": True}


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
    products = (row for block in np.array_split(some_users, 100) for row in user_rows[block] @ item_rows.T)
    for user, dot in zip(some_users.tolist(), products, strict=True):
        own, later = (pairs.indices[pairs.indptr[user] : pairs.indptr[user + 1]] for pairs in (known, wanted))
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


def rank(model: lightgbm.Booster, columns: list[int], users: list[tuple], trees: int) -> np.ndarray:
    """Return the NDCG of each user by the first trees of a model."""
    scores = model.predict(np.vstack([one[0] for one in users])[:, columns], num_iteration=trees)
    return np.array([ndcg(s, *one[1:]) for s, one in zip(scores.reshape(len(users), -1), users, strict=True)])


def interval(gain: np.ndarray) -> tuple[float, float]:
    """Return the paired bootstrap's 95 % interval of a mean gain over users."""
    rng = np.random.default_rng(0)
    means = [gain[rng.integers(len(gain), size=len(gain))].mean() for _ in range(2_000)]
    return tuple(np.quantile(means, [0.025, 0.975]).tolist())


def main(argv: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Print the mean NDCG@20 of the dot product and of both rankers, and return it of each user, by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--fit", "--test"):
        parser.add_argument(name, nargs=3, required=True, metavar=("TABLE", "KNOWN", "WANTED"))
    parser.add_argument("--users", type=int, default=5_000, help="users to fit, to choose and to test by, each")
    options = parser.parse_args(argv)
    spaces = {EmbeddingTable.open(place[0]).space_id for place in (options.fit, options.test)}
    if len(spaces) > 1:
        parser.error("the space_id of the two tables differs: a model of one can't read the other")

    names = PLAIN + OF_VECTORS
    users = list(candidates(*options.fit, 2 * options.users))
    choose_by = users[options.users :]
    fit = [one for one in users[: options.users] if one[1].any()]
    test = list(candidates(*options.test, options.users))
    of_users = {"dot product": np.array([ndcg(one[0][:, names.index("dot*")], *one[1:]) for one in test])}
    for name, chosen in RANKERS.items():
        columns = [names.index(column) for column in chosen]
        rows, labels = np.vstack([one[0] for one in fit])[:, columns], np.hstack([one[1] for one in fit])
        data = lightgbm.Dataset(rows, labels, group=[CANDIDATES] * len(fit))
        model = lightgbm.train(KEYS, data, num_boost_round=max(TREES))
        by_trees = {trees: rank(model, columns, choose_by, trees).mean() for trees in TREES}
        trees = max(by_trees, key=by_trees.get)
        print(f"{name:<15} {trees} trees, ndcg@{TOP} {by_trees[trees]:.4f} of the users to choose by")
        of_users[name] = rank(model, columns, test, trees)
    best = of_users["ranker with"]
    print(f"{'ranker with':<15} ndcg@{TOP} {best.mean():.4f}")
    for name in ("ranker without", "dot product"):
        gain, (low, high) = best - of_users[name], interval(best - of_users[name])
        print(f"{name:<15} ndcg@{TOP} {of_users[name].mean():.4f}, {gain.mean():.4f} less ({low:.4f} to {high:.4f})")
    return of_users


if __name__ == "__main__":
    main()
