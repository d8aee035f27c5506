"""What gates judge by: tonight's table, the release that readers have, and what an operator accepts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.publish import GatesConfig
from pipeline.evaluation.rankme import rankme
from pipeline.kernels.node_keys import node_keys
from pipeline.publishing.release import rollback
from pipeline.stages.chain import STAGE_NAMES
from tests.stages.chains import Chain, Ended, Published, users_and_items, with_changes, write_rows
from tests.stages.nights import DAY, GARBAGE, Stream, date_of, planted
from tests.stages.test_nights import CONFIGS, Nights


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    nights = Nights(Chain(tmp_path_factory.mktemp("two")), planted(), CONFIGS["fastrp"])
    nights.pass_all(range(1, 3))
    return nights


@pytest.fixture
def nights(two_nights: Nights, tmp_path: Path) -> Nights:
    """Two nights in a workspace of the test's own."""
    shutil.copytree(two_nights.chain.root, tmp_path / "workspace")
    return replace(two_nights, chain=Chain(tmp_path))


def gates(ended: Ended) -> Mapping[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for gate in ended.answer["gate"]["gates"]:
        found.setdefault(gate["gate"], []).append(gate)
    return found


def spoilt(nights: Nights, night: int, name: str = "items permuted among users") -> Mapping[str, Any]:
    return GARBAGE[name](nights.rows(night), np.random.default_rng(3))


def manifest_of(ended: Ended) -> dict[str, Any]:
    return json.loads((Path(ended.answer["path"]) / "manifest.json").read_text())


@pytest.mark.parametrize("key", ["min_recall", "min_ndcg", "min_auc"])
def test_a_written_gate_that_next_day_cannot_judge_refuses_from_the_second_night_on(tmp_path: Path, key: str) -> None:
    nights = Nights(Chain(tmp_path), planted(), CONFIGS["fastrp"])
    publish = {"gates": {key: 0.0}}
    assert nights.run(1, sections={"publish": publish}).code == 0  # a first night
    refused = nights.run(2, sections={"publish": publish})
    assert refused.code == 3
    assert f"publish.gates.{key} is 0" in refused.error
    assert "'holdout'" in refused.error
    warned = nights.run(2, sections={"publish": {"gates": {key: 0.0, "without_verdict": "warn"}}})
    assert warned.code == 0
    assert [gate["verdict"] for gate in gates(warned)[key]] == ["not judged"]


@pytest.mark.parametrize(
    ("sections", "key", "reason"),
    [
        ({"embedding": {"dim": 16}}, "min_neighbors_kept", "embedding.dim was 32 on 2024-01-03 and is 16 tonight"),
        ({"embedding": {"dim": 16}}, "min_rankme_ratio", "embedding.dim was 32 on 2024-01-03 and is 16 tonight"),
        ({"evaluate": {"source": "none"}}, "min_next_day_ratio", "evaluate.source is 'none', not 'next_day'"),
        (
            {"input": {"half_life_days": 3.0}},
            "min_weights_kept",
            "input.half_life_days was None on 2024-01-03 and is 3.0 tonight",
        ),
    ],
)
def test_a_default_without_material_is_not_judged_and_a_written_gate_refuses(
    nights: Nights, sections: Mapping[str, Mapping[str, Any]], key: str, reason: str
) -> None:
    written = nights.run(3, sections={**sections, "publish": {"gates": {key: 0.01}}})
    assert written.code == 3
    assert reason in written.error
    ended = nights.run(3, sections=sections)
    assert ended.code == 0, ended.error
    notes = [gate["note"] for gate in gates(ended)[key] if gate["verdict"] == "not judged"]
    assert any(reason in note for note in notes), notes


def test_another_half_life_and_window_are_no_loss(nights: Nights) -> None:
    """Pairs that tonight's window has passed by are not missed."""
    ended = nights.run(3, sections={"input": {"window_days": 2}})
    assert ended.code == 0, ended.error
    assert [gate["value"] for gate in gates(ended)["min_pairs_kept"]] == [1.0]
    (edges,) = gates(ended)["min_edge_ratio"]
    assert edges["baseline"] < 0.1 * gates(nights.run(3))["min_edge_ratio"][0]["baseline"]
    assert "are in its window" in edges["note"]
    for key in ("max_edge_ratio", "max_row_ratio", "min_neighbors_kept", "min_rankme_ratio"):
        assert all("input.window_days was None" in gate["note"] for gate in gates(ended)[key][:1])
    # A window that is set and stays is judged again, and half of its input is too little.
    short = {name: values[::3] for name, values in nights.rows(4).items()}
    assert "min_edge_ratio" in nights.run(4, short, sections={"input": {"window_days": 3}}).error


def test_a_peak_that_leaves_the_window_is_no_loss(tmp_path: Path) -> None:
    """A holiday of eight times the usual pairs, and usual days before and after, in a window of four days."""
    usual = planted(pairs=60_000, share=0.015)
    day = np.where(usual.day > 17, usual.day - 7, np.minimum(usual.day, 10))
    stream = Stream({**usual.rows, "ts": usual.rows["ts"] + (day - usual.day) * DAY}, day)
    nights = Nights(Chain(tmp_path), stream, CONFIGS["fastrp"], window=4)
    nights.pass_all(range(8, 16))


def test_what_the_last_release_did_not_know_is_no_fault_of_its(tmp_path: Path) -> None:
    """Half of the users try things of a new category: not one of them could be foretold."""
    nights = Nights(Chain(tmp_path), planted(pairs=30_000, share=0.05), CONFIGS["fastrp"])
    nights.pass_all(range(1, 4))
    rows = nights.rows(4)
    rng = np.random.default_rng(0)
    users = np.repeat(np.unique(rows["source"])[::2], 3)
    launch = {
        "source": users,
        "target": 10_000 + rng.integers(0, 30, users.size),
        "weight": rng.integers(1, 6, users.size),
        "ts": np.full(users.size, rows["ts"].max()),
    }
    ended = nights.run(4, {name: np.concatenate([rows[name], launch[name]]) for name in rows})
    assert ended.code == 0, ended.error
    judged = {gate["figure"]: gate["verdict"] for gate in gates(ended)["min_next_day_ratio"]}
    assert judged["next_day recall"] == "passed"


def test_rows_of_tonight_in_another_unit_are_refused(tmp_path: Path) -> None:
    nights = Nights(Chain(tmp_path), planted(share=0.05), CONFIGS["fastrp"])
    nights.pass_all(range(1, 4))
    rows = nights.rows(4)
    is_new = rows["ts"] > nights.rows(3)["ts"].max()
    for factor, code in ((3, 0), (1_000, 3)):
        ended = nights.run(4, {**rows, "weight": rows["weight"] * np.where(is_new, factor, 1)})
        assert ended.code == code, ended.error
    assert "new_weights is " in ended.error
    assert "the unit of the weights of the rows that are new tonight" in ended.error
    # A unit that changes for all rows changes nothing.
    assert nights.run(4, {**rows, "weight": rows["weight"] * 1_000}).code == 0


def test_events_that_were_swapped_are_refused(tmp_path: Path) -> None:
    """Most pairs weigh alike before and after, and a few in a hundred of all events are of the other kind."""
    nights = Nights(Chain(tmp_path), planted(share=0.05), CONFIGS["fastrp"])

    def rows(night: int, names: tuple[str, str] = ("view", "buy")) -> dict[str, Any]:
        plain = nights.rows(night)
        is_rare = plain["source"] % 4 == 0
        return {**plain, "weight": np.ones_like(plain["ts"]), "kind": np.array(names)[is_rare.astype(int)]}

    sections = {"input": {"event": "kind", "event_weights": {"view": 1.0, "buy": 10.0}}}
    for night in range(1, 4):
        assert nights.run(night, rows(night), sections=sections).code == 0
    for names in (("buy", "view"), ("view", "view")):
        ended = nights.run(4, rows(4, names), sections=sections)
        assert ended.code == 3
        assert "weights_changed is 0.2" in ended.error, ended.error
    assert nights.run(4, rows(4), sections=sections).code == 0


def test_nights_that_were_skipped_renew_more_pairs(tmp_path: Path) -> None:
    """Of the same pairs a fifth has an event each day: after a fortnight nearly all have."""
    rng = np.random.default_rng(0)
    source, target = np.divmod(rng.choice(80 * 60, 1_500, replace=False), 60)
    ends = planted().until(0)["ts"].max()
    day, pair = np.nonzero(rng.random((20, source.size)) < 0.2)
    rows = {"source": source[pair], "target": target[pair], "weight": np.ones_like(pair), "ts": ends + day * DAY}
    stream = Stream(rows, day)
    nights = Nights(Chain(tmp_path), stream, CONFIGS["fastrp"])
    nights.pass_all(range(1, 4))
    ended = nights.run(18)
    assert ended.code == 0, ended.error
    (gate,) = gates(ended)["max_renewed_rise"]
    assert gate["value"] > 0.7 + gates(nights.run(3))["max_renewed_rise"][0]["value"]


def test_pairs_that_leave_nothing_to_be_told_from_are_not_judged(tmp_path: Path) -> None:
    source, target = np.divmod(np.random.default_rng(0).permutation(40 * 40), 40)
    day = np.where(np.arange(source.size) < 400, 1, 2)
    start = planted().until(0)["ts"].min()
    rows = {"source": source, "target": target, "weight": np.ones_like(source), "ts": start + day * DAY}
    nights = Nights(Chain(tmp_path), Stream(rows, day), CONFIGS["fastrp"])
    nights.pass_all(range(1, 3))
    (gate,) = [one for one in gates(nights.run(2))["min_next_day_auc"] if one["figure"] == "next_day auc"]
    assert (gate["verdict"], "are known too" in gate["note"]) == ("not judged", True)


@pytest.mark.parametrize(
    "key", ["min_next_day_ratio", "max_new_weight_ratio", "max_renewed_rise", "max_changed_weights_rise"]
)
def test_a_written_gate_that_needs_nights_before_does_not_keep_them_from_coming(tmp_path: Path, key: str) -> None:
    nights = Nights(Chain(tmp_path), planted(pairs=30_000, share=0.05), CONFIGS["fastrp"])
    publish = {"gates": {key: getattr(GatesConfig(), key)}}
    verdicts = []
    for night in range(1, 4):
        ended = nights.run(night, sections={"publish": publish})
        assert ended.code == 0, ended.error
        verdicts.append({gate["verdict"] for gate in gates(ended)[key]})
    assert verdicts[:2] == [{"not judged"}] * 2
    assert "passed" in verdicts[2]


def test_accepted_drift_is_published_and_stays_accepted(nights: Nights) -> None:
    rows = spoilt(nights, 3)
    assert nights.run(3, rows).code == 3
    accepted = nights.run(3, rows, accept_drift=True)
    assert accepted.code == 0, accepted.error
    assert accepted.skipped == ["ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate"]
    overridden = accepted.answer["gate"]["accepted_drift"]
    assert "min_pairs_kept" in overridden
    assert manifest_of(accepted)["accepted_drift"] == overridden
    of_release = json.loads((Path(accepted.answer["path"]) / "gate.json").read_text())
    assert of_release["verdict"] == "accepted"
    refused = [gate["gate"] for gate in of_release["gates"] if gate["verdict"] == "refused"]
    assert refused == of_release["accepted_drift"] == overridden
    of_date = nights.chain.gate(date_of(3))
    assert of_date is not None
    assert (of_date["verdict"], of_date["accepted_drift"]) == ("published", overridden)
    # A rerun is no new night; the next one is judged against what readers have now.
    again = nights.run(3, rows)
    assert (again.code, again.answer["verdict"]) == (0, "unchanged")
    ended = nights.run(4)
    assert ended.code == 3
    assert "was published with --accept-drift: if that one is wrong, graphquilt rollback" in ended.error


def test_what_nobody_promised_is_not_accepted_for_it(nights: Nights) -> None:
    assert nights.run(3, {**nights.rows(3), "source": [None] * len(nights.rows(3)["ts"])}, accept_drift=True).code == 4


def test_a_rerun_is_judged_as_the_first_time_and_never_against_itself(nights: Nights) -> None:
    for rows, code in ((None, 0), (spoilt(nights, 2), 3)):
        ended = nights.run(2, rows)
        assert ended.code == code
        assert ended.answer["gate"]["gates"][0]["gate"] == "min_rows"
    first = nights.run(2)
    assert first.answer["metrics"]["drift"]["release"].startswith(date_of(1))


def test_a_release_that_was_rolled_back_is_no_baseline(nights: Nights) -> None:
    bad = nights.run(3, spoilt(nights, 3), accept_drift=True)
    assert bad.code == 0
    rollback(nights.chain.root, "default")
    ended = nights.run(4)
    assert ended.code == 0, ended.error
    assert ended.answer["metrics"]["drift"]["release"].startswith(date_of(2))
    assert manifest_of(ended)["baseline"] == ended.answer["metrics"]["drift"]["release"]


def test_what_was_rolled_back_is_refused_and_its_repair_is_published(nights: Nights) -> None:
    rows = spoilt(nights, 3)
    bad = nights.run(3, rows, accept_drift=True)
    rollback(nights.chain.root, "default", reason="items permuted")
    again = nights.run(3, rows)
    assert (again.code, again.answer["current"]["data_date"]) == (3, date_of(2))
    assert f"readers were rolled back from release {bad.answer['release']}" in again.error
    assert "(reason: items permuted)" in again.error
    gate = nights.chain.gate(date_of(3))
    assert gate is not None
    assert (gate["verdict"], gate["reasons"]) == ("refused", [again.error])
    assert nights.run(4, spoilt(nights, 4)).code == 3  # as far from what readers have as the night before
    for night, base in ((3, 2), (4, 3)):
        good = nights.run(night)
        assert good.code == 0, good.error
        assert good.answer["gate"]["verdict"] == "passed"
        assert str(manifest_of(good)["baseline"]).startswith(date_of(base))


def test_the_operator_may_say_that_what_was_rolled_back_is_right(nights: Nights) -> None:
    bad = nights.run(3, spoilt(nights, 3), accept_drift=True)
    rollback(nights.chain.root, "default")
    accepted = nights.run(3, spoilt(nights, 3), names=["publish"], accept_drift=True)
    assert (accepted.code, accepted.answer["release"]) == (0, bad.answer["release"])
    assert accepted.answer["current_moved"]


def test_a_run_keeps_its_baseline_unless_that_is_withdrawn_meanwhile(nights: Nights) -> None:
    until_evaluate = STAGE_NAMES[:-1]
    assert nights.run(4, names=until_evaluate[:1]).code == 0
    assert nights.run(3).code == 0  # readers have it from now on, and the run of night 4 began before
    assert nights.run(4, names=until_evaluate[1:]).code == 0
    third = nights.chain.current()
    late = nights.run(4, names=["publish"])
    assert (late.code, str(manifest_of(late)["baseline"])[:10]) == (0, date_of(2)), late.error
    rollback(nights.chain.root, "default", third and third["release"])
    assert nights.run(5, names=until_evaluate).code == 0
    rollback(nights.chain.root, "default", reason="too late")
    refused = nights.run(5, names=["publish"])
    assert refused.code == 3
    assert "which this run is measured by, since it started" in refused.error
    ended = nights.run(5)
    assert ended.code == 0, ended.error
    assert ended.skipped == ["ingest", "index", "partition", "layout", "embed"]
    assert str(manifest_of(ended)["baseline"]).startswith(date_of(2))


def rankme_by_rows(made: Published, node_type: str) -> float:
    rows = np.array([row for (of, _), row in made.of.items() if of == node_type], np.float32)
    ids = [str(one).encode() for of, one in made.of if of == node_type]
    return rankme(rows, node_keys(node_type, ids), seed=0).rankme


def test_rankme_is_that_of_tonight(nights: Nights) -> None:
    """Under next_day too, which scores the table of the night before."""
    ended = nights.run(3)
    made = nights.chain.published()
    want = {name: rankme_by_rows(made, name) for name in ("user", "item")}
    assert {name: one["rankme"] for name, one in ended.answer["metrics"]["rankme"].items()} == pytest.approx(want)
    (gate,) = gates(nights.run(3, sections={"publish": {"gates": {"min_rankme": 1.0}}}))["min_rankme"]
    assert gate["value"] == pytest.approx(min(want.values()))
    refused = nights.run(3, sections={"publish": {"gates": {"min_rankme": 33.0}}})
    assert (refused.code, "rankme is" in refused.error) == (3, True)


def test_more_rejected_rows_than_last_night_are_refused(nights: Nights) -> None:
    rows = nights.rows(3)
    is_bad = np.arange(rows["ts"].size) % 20 == 0
    bad = {**rows, "weight": np.where(is_bad, -1, rows["weight"])}
    sections = {"input": {"max_rejected_share": 0.2}, "publish": {"gates": {"min_pairs_kept": "off"}}}
    refused = nights.run(3, bad, sections=sections)
    assert refused.code == 3
    assert "rejected_share is 0.05" in refused.error
    assert "last night 0; publish.gates.max_rejected_rise wants at most 0.02" in refused.error


def test_growth_of_young_data_is_welcome_and_of_old_data_has_a_bound(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    nights = Nights(chain, planted(), {"embedding": {"dim": 16}, "evaluate": {"source": "none"}}, is_dated=False)
    sizes = [(1, 300, 0), (2, 6_000, 0), (3, 120_000, 3)]
    for night, size, code in sizes:
        rows = users_and_items(0, 120_000, users=5_000, items=3_000)
        rows = {name: values[:size] for name, values in rows.items()} | {"weight": np.ones(size, np.int64)}
        ended = nights.run(night, rows, sections={"publish": {"gates": {"min_neighbors_kept": "off"}}})
        assert ended.code == code, ended.error
    assert "max_edge_ratio" in ended.error


def test_figures_are_shown_by_inspect(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    from graphquilt.__main__ import main

    nights.run(3, spoilt(nights, 3))
    assert main(["inspect", "--workspace", str(nights.chain.root), "--date", date_of(3)]) == 0
    shown = capsys.readouterr().out
    assert "pairs_kept is" in shown
    assert main(["inspect", "--workspace", str(nights.chain.root), "--date", date_of(3), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["verdict"]["gates"]
    assert {"gate", "figure", "value", "bound", "margin", "baseline", "verdict", "note"} == set(told[0])


def test_a_damaged_working_table_of_the_baseline_is_not_judged_by(nights: Nights) -> None:
    edges = next((nights.chain.root / "runs" / date_of(2) / "edges").glob("*/part-*"))
    edges.unlink()
    ended = nights.run(3)
    assert ended.code == 0, ended.error
    (gate,) = gates(ended)["min_pairs_kept"]
    assert gate["verdict"] == "not judged"
    assert f"{edges} is missing" in gate["note"]


def test_gates_off_are_not_judged_at_all(nights: Nights) -> None:
    off = {"min_pairs_kept": "off", "min_nodes_kept": "off", "min_neighbors_kept": "off", "min_weights_kept": "off"}
    off |= {"min_next_day_auc": "off", "min_next_day_ratio": "off", "max_changed_weights_rise": "off"}
    rows = spoilt(nights, 3, "items relabelled")
    write_rows(nights.chain.folder / "in.parquet", rows)
    ended = nights.run(3, rows, sections=with_changes({"publish": {"gates": off}}))
    assert ended.code == 0, ended.error
    assert not set(off) & set(gates(ended))


@pytest.mark.spark
def test_engines_agree_on_what_changed(nights: Nights, tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    other = replace(nights, chain=Chain(tmp_path / "spark", SparkEngine(spark_session)))
    other.pass_all(range(1, 3))
    rows = spoilt(nights, 3)
    local, spark = (one.run(3, rows).answer["gate"] for one in (nights, other))
    assert local["verdict"] == "refused"
    assert spark == local
