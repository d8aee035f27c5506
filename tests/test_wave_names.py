"""What waves are called: by stage, place and step."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tasks import describe_wave

RUN = Path("/w/runs/2024-03-01")
FINGERPRINT = "fce42b78fb9ae4c3"
ROUND = "embed: round 2, products"


@pytest.mark.parametrize(
    ("folder", "names", "words"),
    [
        (f"_work/embed-{FINGERPRINT}", ["round-02-products-00000", "round-02-products-00103"], ROUND),
        (f"_work/embed-{FINGERPRINT}/lists", ["sources"], "embed: lists, sources"),
        (f"_work/ingest-{FINGERPRINT}", ["parse-00000"], "ingest: parse"),
        (f"_work/partition-{FINGERPRINT}", ["cut-0", "cut-0-12"], "partition: cut"),
        (
            f"_work/partition-{FINGERPRINT}/wide/into-3/level-0/cluster-10",
            ["propose-00000"],
            "partition: wide, into 3, level 0, cluster 10, propose",
        ),
        (f"_work/evaluate-{FINGERPRINT}", ["measure", "measure-lists"], "evaluate: measure, measure lists"),
        (f"whole_graph/{FINGERPRINT}", ["whole"], "whole graph: whole"),
        ("../../inputs", [f"digest-{FINGERPRINT}", f"digest-{FINGERPRINT[::-1]}"], "inputs: digest"),
        ("../../inputs", [f"newest-{FINGERPRINT}-00003"], "inputs: newest"),
        ("_work", ["t0", "t1"], "work: t0, t1"),
    ],
)
def test_a_wave_is_named_by_stage_place_and_step(folder: str, names: list[str], words: str) -> None:
    assert describe_wave(RUN / folder, names) == words


def test_a_folder_of_any_name_has_a_description() -> None:
    assert describe_wave(Path("/") / FINGERPRINT, ["a-00000"]) == "work: a"
