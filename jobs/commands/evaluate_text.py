"""A report on a table as lines for a person: each figure with its reading in a word."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from jobs.answers import columns

Facts = Mapping[str, Any]


def text_of(facts: Facts) -> str:
    """Return the report; only what was measured is in it."""
    lines = _head(facts)
    for name, make in _SECTIONS:
        if name in facts:
            lines += ["", *make(facts[name])]
    return "\n".join(lines)


def _head(facts: Facts) -> list[str]:
    return [*_tables(facts), *_pairs_and_notes(facts)]


def _tables(facts: Facts) -> list[str]:
    if "dim" not in facts:
        return _about_lists(facts["lists"]["about"])
    nodes = ", ".join(f"{count:,} {name}" for name, count in facts["nodes"].items())
    day = f", data up to {facts['data_date']}" if facts["data_date"] not in (None, "1970-01-01") else ""
    method = f", {facts['method']} {facts['form'] or ''}".rstrip() if facts["method"] else ""
    use = facts["similarity"]
    said = "the table says" if use["is_said_by_table"] else "as given"
    return [
        f"{facts['release']}{day}: {nodes}; d = {facts['dim']}{method}",
        f"similarity ({said}): {use['retrieval']} for retrieval, {use['feature']} inside a type, "
        f"{_rows(use['classifier'])} for classifiers",
    ]


def _about_lists(about: Facts) -> list[str]:
    day = f", data up to {about['data_date']}" if about["data_date"] not in (None, "1970-01-01") else ""
    made = ", ".join(
        f"{name} {about[name]}"
        for name in ("restart", "edge_degree_power", "degree_correction", "top_k")
        if about[name] is not None
    )
    return [f"{about['release']}{day}: lists of {about['lists']:,} nodes{f'; {made}' if made else ''}"]


def _pairs_and_notes(facts: Facts) -> list[str]:
    found = []
    if facts["test_pairs"]:
        found.append(f"test pairs: {facts['test_pairs']}")
    if facts["train_pairs"]:
        found.append(f"train pairs: {facts['train_pairs']}")
    return [*found, *(f"note: {note}" for note in facts["notes"])]


def _rows(similarity: str) -> str:
    return "unit rows" if similarity == "cosine" else "rows as they are"


def _ranking(found: Facts) -> list[str]:
    ks = [int(name.split("@")[1]) for name in found if name.startswith("recall@")]
    which = f"{found['users']:,} of {found['population']:,}, chosen by hash" if found["is_sampled"] else "all"
    known = f", {found['unknown_users']:,} without a row" if found["unknown_users"] else ""
    head = (
        f"ranking: {found['items']:,} nodes for each of {found['users']:,} sources ({which}{known}) by "
        f"{found['similarity']}; {found['test_pairs']:,} test pairs"
    )
    if found["unknown_items"]:
        head += f", {found['unknown_items']:,} of unknown nodes"
    if found["test_pairs_in_train"]:
        head += f", {found['test_pairs_in_train']:,} are train pairs too and can't be found"
    return [head, *_ranking_tables(found, ks)]


def _lists(found: Facts) -> list[str]:
    ks = [int(name.split("@")[1]) for name in found if name.startswith("recall@")]
    which = f"{found['users']:,} of {found['population']:,}, chosen by hash" if found["is_sampled"] else "all"
    head = f"lists of ppr_neighbors: {found['users']:,} sources ({which}), {found['test_pairs']:,} test pairs"
    if found["unknown_items"]:
        head += f", {found['unknown_items']:,} of unknown nodes"
    short = [f"fewer than {k} left: {count:,}" for k, count in found["shorter_than"].items() if count]
    if found["without_list"]:
        short.insert(0, f"without a list: {found['without_list']:,}")
    told = [
        f"  sources {'; '.join(short)} (train pairs are taken out of lists, and places behind their end are missed)"
    ]
    return [head, *(told if short else ()), *_ranking_tables(found, ks)]


def _ranking_tables(found: Facts, ks: list[int]) -> list[str]:
    """Figures by length of list, and slices."""
    rows: list[tuple[str, ...]] = [("first", "recall", "ndcg", "hit rate", "coverage")]
    for k in ks:
        figures = [_with_interval(found, f"{name}@{k}") for name in ("recall", "ndcg", "hit_rate")]
        rows.append((str(k), *figures, _share(found[f"coverage@{k}"])))
    lines = [
        *columns(rows),
        *_told(
            "recall: share of a source's test nodes in its list; ndcg: early places count more; hit rate: lists with "
            "one at least; coverage: share of nodes in some list; "
            f"[95 % interval over sources, {found['intervals']['resamples']:,} resamples]"
        ),
    ]
    if found["by_activity"]:
        sliced: list[tuple[str, ...]] = [("train pairs of a source", "sources", f"recall@{ks[0]}", f"ndcg@{ks[0]}")]
        for one in found["by_activity"]:
            figures = [_figure(one[f"{name}@{ks[0]}"]) for name in ("recall", "ndcg")]
            sliced.append((_range(one), f"{one['members']:,}", *figures))
        lines += columns(sliced)
    if found["by_popularity"]:
        sliced = [("train pairs of a node", "nodes", "test pairs", f"found in first {ks[0]}")]
        for one in found["by_popularity"]:
            counts = f"{one['members']:,}", f"{one['test_pairs']:,}"
            sliced.append((_range(one), *counts, _figure(one[f"recall@{ks[0]}"])))
        lines += columns(sliced)
    return lines


def _links(found: Facts) -> list[str]:
    rows = [("negatives", "AUC", "of the degree product", "pairs without one")]
    names = {
        "random": "random nodes",
        "degree_matched": "of the same degree",
        "hard": "a neighbour's neighbour",
    }
    for name, text in names.items():
        one = found[name]
        figures = _figure(one["auc"]), _figure(one["auc_by_degree_alone"])
        rows.append((text, *figures, f"{one['without_negative']:,}"))
    unknown = f"; {found['unknown_pairs']:,} more name an unknown node" if found["unknown_pairs"] else ""
    return [
        f"links: {found['positives']:,} test pairs by {found['similarity']}{unknown}",
        *columns(rows),
        *_told(
            "AUC: chance that a test pair scores above its like with another end; .5 is chance, and what the degree "
            "product reaches is popularity alone"
        ),
    ]


def _classification(found: Facts) -> list[str]:
    rows: list[tuple[str, ...]] = [("train share", "micro-F1 in %", "macro-F1 in %", "nodes to train on")]
    for one in found["shares"]:
        figures = [
            f"{100 * one[name]:.2f} +- {100 * one[f'{name}_deviation']:.2f}" for name in ("micro_f1", "macro_f1")
        ]
        rows.append((f"{one['train_share']:g}", *figures, f"{one['shuffles'][0]['train_nodes']:,}"))
    seeds = [shuffle["seed"] for shuffle in found["shares"][0]["shuffles"]]
    unknown = f", {found['unknown_nodes']:,} unknown ones left out" if found["unknown_nodes"] else ""
    return [
        f"classification: {found['nodes']:,} nodes of type {found['node_type']}{unknown}, {found['labels']} labels",
        f"  logistic regression on {_rows(found['similarity'])}, C = {found['C']:g}, shuffles {seeds[0]} to "
        f"{seeds[-1]}",
        *columns(rows),
        *_told(
            "mean +- deviation over shuffles; predicted are as many labels as a node is known to have; micro-F1 "
            "counts labels by how often they come, macro-F1 all alike"
        ),
    ]


def _reconstruction(found: Facts) -> list[str]:
    which = f"{found['nodes']:,} of {found['population']:,}, chosen by hash" if found["is_sampled"] else "all"
    has_parts = found["parts"] is not None and found["parts"] > 1
    rows = [("hops", "mAP", "by chance", *(("same part", "cross part") if has_parts else ()))]
    for one in found["hops"]:
        parts = [_figure(one[name]["map"]) for name in ("same_part", "cross_part")] if has_parts else []
        rows.append((str(one["hops"]), _figure(one["all"]["map"]), _figure(one["all"]["by_chance"]), *parts))
    in_parts = f", {found['parts']} parts" if has_parts else ""
    return [
        f"reconstruction: {found['nodes']:,} nodes with edges ({which}){in_parts}",
        *columns(rows),
        *_told("mAP: are the nodes exactly so many hops away ranked above those farther away? 1: all of them"),
    ]


def _spectrum(found: Facts) -> list[str]:
    rows = [
        (name, f"{one['rankme']:.1f}", f"of {found['dim']}", f"{one['rows']:,} of {one['population']:,} rows")
        for name, one in found["rankme"].items()
    ]
    return ["spectrum: RankMe, the number of directions that the rows really use", *columns(rows)]


def _probe(found: Facts | None) -> list[str]:
    if found is None:
        return ["probe: too few pairs"]
    rows = [("columns", "bits", "error")]
    prefixes = [one for one in found["prefixes"] if one["columns"] != found["blocks"][0]["columns"]]
    for one in (*found["blocks"], *prefixes):
        first, stop = one["columns"]
        rows.append((f"{first} to {stop - 1}", f"{one['bits']:.3f}", f"{one['standard_error']:.3f}"))
    alone = found["score_alone"]
    rows.append((f"{found['similarity']} alone", f"{alone['bits']:.3f}", f"{alone['standard_error']:.3f}"))
    which = f"of {found['population']:,}, chosen by hash" if found["is_sampled"] else "all"
    return [
        f"probe: {found['pairs']:,} {found['of']} ({which}) against as many of the same degrees",
        *columns(rows),
        *_told("bits about whether a pair is an edge that a linear model can use: 1 all, 0 none"),
    ]


def _stability(found: Facts) -> list[str]:
    ks = [name for name in found["lists"][0] if name.startswith("overlap@")]
    rows = [("lists", "by", *ks, "nodes")]
    for one in found["lists"]:
        counts = f"{one['nodes']:,} of {one['population']:,}"
        rows.append((f"{one['from']} to {one['to']}", one["similarity"], *(_figure(one[k]) for k in ks), counts))
    lines = [
        f"stability against {found['against']['release']}, nodes of both",
        *columns(rows),
        "  overlap: share of the first k neighbours that both releases name",
    ]
    if not found["is_one_space"]:
        return [*lines, "  their space_id differ: cosines between their vectors mean nothing, and none is given"]
    for name, one in (found["cosine"] or {}).items():
        figures = f"{_figure(one['mean'])} in the mean, {_figure(one['least'])} at least"
        lines.append(f"  cosine of a {name}'s two rows: {figures}, {one['nodes']:,} nodes")
    return lines


_SECTIONS = (
    ("ranking", _ranking),
    ("links", _links),
    ("classification", _classification),
    ("reconstruction", _reconstruction),
    ("spectrum", _spectrum),
    ("probe", _probe),
    ("stability", _stability),
    ("lists", _lists),
)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _told(text: str) -> list[str]:
    return textwrap.wrap(text, 112, initial_indent="  ", subsequent_indent="  ")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _with_interval(found: Facts, name: str) -> str:
    low, high = found["intervals"][name]
    return f"{found[name]:.4f} [{low:.4f}, {high:.4f}]"


def _range(one: Facts) -> str:
    low, high = one["degree"]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
