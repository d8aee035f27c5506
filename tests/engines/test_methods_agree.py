"""Methods whose rounds find out facts: the same bytes from every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.embedding.rounds import Embedded, embed_parts
from tests.embedding.graphs_in_parts import InThisProcess, lay_out
from tests.embedding.methods_in_parts import factorised, log_transition, low_pass, random_tree, settings_for, spectral

# Few rounds: each costs Spark two waves of tasks.
CASES = {
    "spectral, plain": (0, spectral(dim=5, iterations=1)),
    "spectral, two types": (15, spectral(dim=3, rank=5, iterations=1, boundary_dtype="int8")),
    "spectral, plain, with momentum": (0, spectral(dim=5, iterations=2, accelerate=True)),
    "log_transition": (0, log_transition(dim=5, iterations=1)),
    "factorised ppr, two types": (15, factorised(dim=3, iterations=1)),
    "low_pass, two types": (15, low_pass(dim=20, cut=0.5, filter_degree=1)),
}


def checksums_of(embedded: Embedded) -> list[str]:
    return [file.checksum for record in embedded.row_records for file in record.files if file.role == "rows"]


@pytest.mark.parametrize("case", CASES)
def test_engines_embed_to_the_same_bytes(engine: Any, case: str, tmp_path: Path) -> None:
    items, embedding = CASES[case]
    made = random_tree(2, items, 5, edges=120, others=30)
    blocks, settings = lay_out(made, tmp_path), settings_for(made, embedding)
    want = embed_parts(InThisProcess(), blocks, settings, tmp_path / "here")
    got = embed_parts(engine, blocks, settings, tmp_path / "there")
    assert checksums_of(got) == checksums_of(want)
    assert got.report == want.report
    assert got.floats_moved == want.floats_moved > 0
