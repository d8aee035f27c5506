"""Purity of codes against counting all pairs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.code_purity import code_purity


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 3))
def test_dendrogram_purity_is_the_mean_over_pairs_with_a_label_in_common(seed: int, nodes: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    code = random.integers(0, 2, (nodes, depth)).astype(np.int32)
    labels = random.random((nodes, 3)) < 0.4
    labels[np.arange(nodes), random.integers(0, 3, nodes)] = True
    shares = []
    for one, other in itertools.combinations(range(nodes), 2):
        common = next(level for level in range(depth, -1, -1) if (code[one, :level] == code[other, :level]).all())
        group = (code[:, :common] == code[one, :common]).all(axis=1)
        shares += [labels[group, label].mean() for label in np.flatnonzero(labels[one] & labels[other])]
    purity = code_purity(code, labels)
    assert purity["dendrogram_purity"] == (pytest.approx(np.mean(shares)) if shares else None)
    for level, said in enumerate(purity["levels"]):
        prefixes = {tuple(row) for row in code[:, :level].tolist()}
        groups = [(code[:, :level] == prefix).all(axis=1) for prefix in prefixes]
        assert said == {
            "level": level,
            "groups": len(prefixes),
            "purity": pytest.approx(sum(labels[group].sum(axis=0).max() for group in groups) / nodes),
        }
