"""A report on a table as lines for a person: each figure with its reading in a word."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.answers import columns

Facts = Mapping[str, Any]


def text_of(facts: Facts) -> str:
    """Return the report; only what was measured is in it."""
    lines = _about_vectors(facts) if "dim" in facts else _about_lists(facts["lists"]["about"])
    lines += [f"{kind} pairs: {facts[f'{kind}_pairs']}" for kind in ("test", "train") if facts[f"{kind}_pairs"]]
    lines += [f"note: {note}" for note in facts["notes"]]
    for name, make in _SECTIONS:
        if name in facts:
            lines += ["", *make(facts[name])]
    return "\n".join(lines)


def _about_vectors(facts: Facts) -> list[str]:
    nodes = ", ".join(f"{count:,} {name}" for name, count in facts["nodes"].items())
    method = f", {facts['method']} {facts['form'] or ''}".rstrip() if facts["method"] else ""
    use = facts["similarity"]
    speaker = "the table says" if use["is_said_by_table"] else "as given"
    return [
        f"{facts['release']}{_day_of(facts)}: {nodes}; d = {facts['dim']}{method}",
        f"similarity ({speaker}): {use['retrieval']} for retrieval, {use['feature']} inside a type, "
        f"{_rows(use['classifier'])} for classifiers",
    ]


def _about_lists(about: Facts) -> list[str]:
    parameters = ", ".join(
        f"{name} {about[name]}"
        for name in (
            *("restart", "edge_degree_power", "degree_correction", "filter", "phi", "alpha", "beta", "rank"),
            "top_k",
        )
        if about[name] is not None
    )
    lists = f"lists of {about['lists']:,} nodes{f'; {parameters}' if parameters else ''}"
    return [f"{about['release']}{_day_of(about)}: {lists}"]


def _day_of(about: Facts) -> str:
    return f", data up to {about['data_date']}" if about["data_date"] not in (None, "1970-01-01") else ""


def _rows(similarity: str) -> str:
    return "unit rows" if similarity == "cosine" else "rows as they are"


def _ranking(facts: Facts) -> list[str]:
    unknown = f", {facts['unknown_users']:,} without a row" if facts["unknown_users"] else ""
    head = (
        f"ranking: {facts['items']:,} nodes for each of {facts['users']:,} sources "
        f"({_sample_of(facts, 'users')}{unknown}) by {facts['similarity']}; {facts['test_pairs']:,} test pairs"
    )
    if facts["unknown_items"]:
        head += f", {facts['unknown_items']:,} of unknown nodes"
    if facts["test_pairs_in_train"]:
        head += f", {facts['test_pairs_in_train']:,} are train pairs too and can't be found"
    return [head, *_ranking_tables(facts)]


def _lists(facts: Facts) -> list[str]:
    sources = f"{facts['users']:,} sources ({_sample_of(facts, 'users')})"
    head = f"lists of {facts['about']['table'] or 'neighbours'}: {sources}, {facts['test_pairs']:,} test pairs"
    if facts["unknown_items"]:
        head += f", {facts['unknown_items']:,} of unknown nodes"
    short = [f"fewer than {k} left: {count:,}" for k, count in facts["shorter_than"].items() if count]
    if facts["without_list"]:
        short.insert(0, f"without a list: {facts['without_list']:,}")
    short_lines = [
        f"  sources {'; '.join(short)} (train pairs are taken out of lists, and places behind their end are missed)"
    ]
    return [head, *(short_lines if short else ()), *_ranking_tables(facts)]


def _ranking_tables(facts: Facts) -> list[str]:
    """Figures by length of list, and slices."""
    ks = [int(name.split("@")[1]) for name in facts if name.startswith("recall@")]
    recall, ndcg = f"recall@{ks[0]}", f"ndcg@{ks[0]}"
    lines = [
        *_table(
            ("first", "recall", "ndcg", "hit rate", "coverage"),
            [
                (
                    str(k),
                    *(_with_interval(facts, f"{name}@{k}") for name in ("recall", "ndcg", "hit_rate")),
                    f"{100 * facts[f'coverage@{k}']:.1f} %",
                )
                for k in ks
            ],
        ),
        *_wrap(
            "recall: share of a source's test nodes in its list; ndcg: early places count more; hit rate: lists with "
            "one at least; coverage: share of nodes in some list; "
            f"[95 % interval over sources, {facts['intervals']['resamples']:,} resamples]"
        ),
    ]
    if sources := facts["by_activity"]:
        rows = [(_range(group), group["members"], group[recall], group[ndcg]) for group in sources]
        lines += _table(("train pairs of a source", "sources", recall, ndcg), rows)
    if nodes := facts["by_popularity"]:
        rows = [(_range(group), group["members"], group["test_pairs"], group[recall]) for group in nodes]
        lines += _table(("train pairs of a node", "nodes", "test pairs", f"found in first {ks[0]}"), rows)
    return [*lines, *_cold(facts["by_warmth"]["cold_items"], ks[0])]


def _cold(items: Facts, k: int) -> list[str]:
    """Lines about nodes without a neighbour; none where there are none, or no test pair leads to one."""
    if not items["test_pairs"]:
        return []
    alone = f", {items[f'recall_alone@{k}']:.4f} among themselves" if f"recall_alone@{k}" in items else ""
    return _wrap(
        f"{items['members']:,} nodes without a neighbour fill {100 * items[f'list_share@{k}']:.1f} % of the first {k} "
        f"places; {items['test_pairs']:,} test pairs lead to one: {items[f'recall@{k}']:.4f} of them found (chance "
        f"{items[f'chance@{k}']:.4f}){alone}"
    )


def _links(facts: Facts) -> list[str]:
    kinds = {"random": "random nodes", "degree_matched": "of the same degree", "hard": "a neighbour's neighbour"}
    figures = ("auc", "auc_by_degree_alone", "without_negative")
    unknown = f"; {facts['unknown_pairs']:,} more name an unknown node" if facts["unknown_pairs"] else ""
    return [
        f"links: {facts['positives']:,} test pairs by {facts['similarity']}{unknown}",
        *_table(
            ("negatives", "AUC", "of the degree product", "pairs without one"),
            [(text, *(facts[kind][figure] for figure in figures)) for kind, text in kinds.items()],
        ),
        *_wrap(
            "AUC: chance that a test pair scores above its like with another end; .5 is chance, and what the degree "
            "product reaches is popularity alone"
        ),
    ]


def _classification(facts: Facts) -> list[str]:
    rows = []
    for share in facts["shares"]:
        names = ("micro_f1", "macro_f1")
        scores = [f"{100 * share[name]:.2f} +- {100 * share[f'{name}_deviation']:.2f}" for name in names]
        rows.append((f"{share['train_share']:g}", *scores, share["shuffles"][0]["train_nodes"]))
    seeds = [shuffle["seed"] for shuffle in facts["shares"][0]["shuffles"]]
    unknown = f", {facts['unknown_nodes']:,} unknown ones left out" if facts["unknown_nodes"] else ""
    return [
        f"classification: {facts['nodes']:,} nodes of type {facts['node_type']}{unknown}, {facts['labels']} labels",
        f"  logistic regression on {_rows(facts['similarity'])}, C = {facts['C']:g}, shuffles {seeds[0]} to "
        f"{seeds[-1]}",
        *_table(("train share", "micro-F1 in %", "macro-F1 in %", "nodes to train on"), rows),
        *_wrap(
            "mean +- deviation over shuffles; predicted are as many labels as a node is known to have; micro-F1 "
            "counts labels by how often they come, macro-F1 all alike"
        ),
    ]


def _purity(facts: Facts) -> list[str]:
    without = f", {facts['without_code']:,} without a code left out" if facts["without_code"] else ""
    return [
        f"purity of codes: {facts['nodes']:,} nodes of type {facts['node_type']}{without}",
        *_table(("numbers of a code", "groups", "purity"), [tuple(level.values()) for level in facts["levels"]]),
        f"  dendrogram purity {_cell(facts['dendrogram_purity'])}",
        *_wrap("share of nodes with the commonest label of their group; in the tree, of the smallest common one"),
    ]


def _reconstruction(facts: Facts) -> list[str]:
    parts = ("same_part", "cross_part") if facts["parts"] is not None and facts["parts"] > 1 else ()
    in_parts = f", {facts['parts']} parts" if parts else ""
    return [
        f"reconstruction: {facts['nodes']:,} nodes with edges ({_sample_of(facts, 'nodes')}){in_parts}",
        *_table(
            ("hops", "mAP", "by chance", *(part.replace("_", " ") for part in parts)),
            [
                (hop["hops"], hop["all"]["map"], hop["all"]["by_chance"], *(hop[part]["map"] for part in parts))
                for hop in facts["hops"]
            ],
        ),
        *_wrap("mAP: are the nodes exactly so many hops away ranked above those farther away? 1: all of them"),
    ]


def _spectrum(facts: Facts) -> list[str]:
    rows = [
        (name, f"{rank['rankme']:.1f}", f"of {facts['dim']}", f"{rank['rows']:,} of {rank['population']:,} rows")
        for name, rank in facts["rankme"].items()
    ]
    return ["spectrum: RankMe, the number of directions that the rows really use", *columns(rows)]


def _probe(facts: Facts | None) -> list[str]:
    if facts is None:
        return ["probe: too few pairs"]
    prefixes = [block for block in facts["prefixes"] if block["columns"] != facts["blocks"][0]["columns"]]
    rows = [(f"{block['columns'][0]} to {block['columns'][1] - 1}", block) for block in (*facts["blocks"], *prefixes)]
    rows.append((f"{facts['similarity']} alone", facts["score_alone"]))
    pairs_text = f"of {facts['population']:,}, chosen by hash" if facts["is_sampled"] else "all"
    return [
        f"probe: {facts['pairs']:,} {facts['of']} ({pairs_text}) against as many of the same degrees",
        *_table(
            ("columns", "bits", "error", "NetInfoF"),
            [
                (name, *(f"{block[figure]:.3f}" for figure in ("bits", "standard_error", "netinfof_score")))
                for name, block in rows
            ],
        ),
        *_wrap(
            "bits about whether a pair is an edge that a linear model can use: 1 all, 0 none; NetInfoF's score, which "
            "only takes the model's order of the pairs: 1 all, .5 none"
        ),
    ]


def _stability(facts: Facts) -> list[str]:
    ks = [name for name in facts["lists"][0] if name.startswith("overlap@")]
    rows = [
        (
            f"{overlap['from']} to {overlap['to']}",
            overlap["similarity"],
            *(overlap[k] for k in ks),
            f"{overlap['nodes']:,} of {overlap['population']:,}",
        )
        for overlap in facts["lists"]
    ]
    lines = [
        f"stability against {facts['against']['release']}, nodes of both",
        *_table(("lists", "by", *ks, "nodes"), rows),
        "  overlap: share of the first k neighbours that both releases name",
    ]
    if not facts["is_one_space"]:
        return [*lines, "  their space_id differ: cosines between their vectors mean nothing, and none is given"]
    for name, cosine in (facts["cosine"] or {}).items():
        cosines = f"{_cell(cosine['mean'])} in the mean, {_cell(cosine['least'])} at least"
        lines.append(f"  cosine of a {name}'s two rows: {cosines}, {cosine['nodes']:,} nodes")
    return lines


_SECTIONS = (
    ("ranking", _ranking),
    ("links", _links),
    ("classification", _classification),
    ("purity", _purity),
    ("reconstruction", _reconstruction),
    ("spectrum", _spectrum),
    ("probe", _probe),
    ("stability", _stability),
    ("lists", _lists),
)


def _sample_of(facts: Facts, name: str) -> str:
    return f"{facts[name]:,} of {facts['population']:,}, chosen by hash" if facts["is_sampled"] else "all"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return columns([tuple(header), *(tuple(map(_cell, row)) for row in rows)])


def _cell(value: str | float | None) -> str:
    """Return a text as it is, a count with commas, a figure with four digits."""
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 112, initial_indent="  ", subsequent_indent="  ")


def _with_interval(facts: Facts, name: str) -> str:
    low, high = facts["intervals"][name]
    return f"{facts[name]:.4f} [{low:.4f}, {high:.4f}]"


def _range(group: Facts) -> str:
    low, high = group["degree"]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
