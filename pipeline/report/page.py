"""From facts and pictures to the page: one HTML file that needs nothing beside itself."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report import amounts
from pipeline.report.night import Headline, JudgedFigure, NightFacts, PastValue
from pipeline.report.pictures import Picture
from pipeline.report.sparklines import sparkline

#: What each gate asks, in words.
_QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "min_rows": "Are there rows?",
        "max_zero_share": "Are few rows empty?",
        "min_recall": "Is recall high enough?",
        "min_ndcg": "Is NDCG high enough?",
        "min_auc": "Is AUC high enough?",
        "min_rankme": "Are rows varied enough?",
        "max_row_change": "Are there about as many rows?",
        "same_id_type": "Are ids of the same type?",
        "min_row_ratio": "Are no rows missing?",
        "max_row_ratio": "Are there not far more rows?",
        "min_edge_ratio": "Are no pairs missing?",
        "max_edge_ratio": "Are there not far more pairs?",
        "min_nodes_kept": "Are the nodes still there?",
        "min_pairs_kept": "Are the pairs still there?",
        "min_weights_kept": "Do pairs weigh what they did?",
        "max_changed_weights_rise": "Do no more weights change than before?",
        "max_new_weight_ratio": "Do new pairs weigh as the others do?",
        "max_renewed_rise": "Are no more pairs renewed than before?",
        "min_attributes_kept": "Are the attributes still there?",
        "max_rejected_rise": "Are no more rows rejected than before?",
        "min_rankme_ratio": "Are rows as varied as before?",
        "min_neighbors_kept": "Do nodes keep their neighbours?",
        "min_next_day_ratio": "Did last night foretell today as before?",
        "min_next_day_auc": "Did last night foretell today at all?",
        "error_bound": "Do the lists keep their error bound?",
    }
)
_SHOWN_FIRST = ("refused", "passed", "not judged")
_LIGHTS = {"passed": "green", "refused": "red", "not judged": "off"}


def render(night: NightFacts, pictures: Sequence[Picture], made_at: dt.datetime) -> str:
    """Return the page. Every word of ``night`` is data of others, and is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": amounts.count, "percent": amounts.percent, "bytes": amounts.amount}
    environment.filters |= {"duration": amounts.duration, "day": long_date}
    folder = files("pipeline.report") / "templates"
    return environment.get_template("report.html").render(
        night=night,
        title=f"{night.name}, {long_date(night.date)}",
        gates=[_GateLine(gate, night.date) for gate in _in_order(night.gates) if gate.verdict != "not judged"],
        not_judged=[_GateLine(gate, night.date) for gate in night.gates if gate.verdict == "not judged"],
        why_not_judged=_common_reason(night.gates),
        headlines=[_HeadlineTile(headline, night.date) for headline in night.headlines],
        pictures=pictures,
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        made_at=made_at,
        total_seconds=sum(stage.seconds for stage in night.stages),
        total_cpu=sum(stage.cpu_seconds for stage in night.stages),
        most=_most(night),
    )


def long_date(date: str | None) -> str:
    """Return a date in words: "8 March 1998"; undated data say so."""
    return f"{dt.date.fromisoformat(date):%-d %B %Y}" if date else "undated"


class _GateLine:
    """A gate as a line of the table shows it."""

    def __init__(self, gate: JudgedFigure, date: str | None) -> None:
        self.gate, self.note, self.verdict = gate.gate, gate.note, gate.verdict
        self.light = _LIGHTS[gate.verdict]
        self.question = _QUESTIONS.get(gate.gate, gate.gate)
        kind, _, self.of = gate.figure.partition(" of ")
        if not self.of and gate.gate.startswith("min_next_day"):
            self.of = kind.removeprefix("next_day ")  # recall, NDCG and AUC answer one question
        self.value = amounts.figure(gate.figure, gate.value)
        self.baseline = amounts.figure(gate.figure, gate.baseline)
        sign = "≥" if gate.gate.startswith("min_") else "≤"
        is_same = gate.gate == "same_id_type"
        bound = "–" if gate.bound is None else f"{sign} {amounts.figure(gate.figure, gate.bound)}"
        self.bound = "same" if is_same else bound
        nights = list(gate.history)
        if gate.value is not None:
            nights.append(PastValue(date, gate.value, gate.verdict != "refused", gate.bound))
        label = f"{gate.figure} over {len(nights)} nights, tonight {self.value}"

        def describe(night: PastValue) -> str:
            bound = "" if night.bound is None else f", bound {sign} {amounts.figure(gate.figure, night.bound)}"
            return f"{long_date(night.date)}: {amounts.figure(gate.figure, night.value)}{bound}"

        self.spark = Markup("") if is_same else sparkline(nights, label, describe)


class _HeadlineTile:
    """A headline with its change and its small line."""

    def __init__(self, headline: Headline, date: str | None) -> None:
        show: Callable[[float], str] = getattr(amounts, headline.unit) if headline.unit else "{:.4g}".format
        self.title, self.note, self.value = headline.title, headline.note, show(headline.value)
        self.sample = headline.sample
        self.before = None if headline.before is None else show(headline.before)
        self.change = _change(headline.value, headline.before)
        nights = [*headline.history, PastValue(date, headline.value, None)]
        label = f"{headline.title} over {len(nights)} nights"
        self.spark = sparkline(nights, label, lambda night: f"{long_date(night.date)}: {show(night.value)}")


def _change(now: float, before: float | None) -> str:
    """Return by how much a figure changed, with its sign: "+0.2 %"."""
    if not before:
        return ""
    change = now / before - 1
    if abs(change) < 5e-6:
        return "no change"
    return f"{'+' if change > 0 else '−'}{amounts.percent(abs(change))}"


def _common_reason(gates: Sequence[JudgedFigure]) -> str:
    """Return why gates were not judged, where most of them have one reason."""
    notes = [gate.note.partition(": ")[2] for gate in gates if gate.verdict == "not judged"]
    reasons = Counter(notes).most_common(1)
    return reasons[0][0] if reasons and 2 * reasons[0][1] > len(notes) else ""


def _in_order(gates: Sequence[JudgedFigure]) -> list[JudgedFigure]:
    return sorted(gates, key=lambda gate: _SHOWN_FIRST.index(gate.verdict))


def _most(night: NightFacts) -> dict[str, float]:
    """Return the largest of each cost of the stages, above 0: what the bars are drawn against."""
    names = ("seconds", "cpu_seconds", "peak_bytes", "written_bytes")
    return {name: max([1e-9, *(getattr(stage, name) for stage in night.stages)]) for name in names}
