"""A plain reading of the rules, one row at a time, with Python's own numbers, dates and expressions."""

from __future__ import annotations

import datetime as dt
import math
import re
from fractions import Fraction
from typing import Any

from pipeline.ingest.parse import ParseRules

Row = dict[str, Any]
ROLES = ("source", "target", "weight", "event", "timestamp")
EVENTS = {"view": 1.0, "buy": 2.5, "7": 0.125}


def id_of(value: Any) -> tuple[str | None, str | None]:
    if isinstance(value, (bool, float, list, dict)):
        return None, "wrong type"
    if value is None or value == "":
        return None, "null id"
    text = str(value)
    if not text.strip(" \t\n\r\v\f\u00a0\u3000\ufeff\u200b"):
        return None, "null id"
    if len(text.encode("utf-8", "surrogatepass")) > 16_384 or re.search("[\0\ud800-\udfff]", text):
        return None, "unreadable id"
    return text, None


def units_of(weight: Any, factor: float) -> tuple[int, str | None]:
    if isinstance(weight, (bool, list, dict)):
        return 0, "wrong type"
    if weight is None or weight == "":
        return 0, "null weight"
    text = str(weight).strip(" \t\n\r\v\f")
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        value = float(text) * factor
    elif re.fullmatch(r"[+-]?(nan|inf|infinity)", text, re.IGNORECASE | re.ASCII):
        value = math.nan
    else:
        return 0, "unreadable weight"
    if not math.isfinite(value):
        return 0, "non-finite weight"
    if value <= 0:
        return 0, "non-positive weight"
    units = round(Fraction(value) * 2**32)
    return (units, None) if value <= 2**20 and units else (0, "weight out of range")


def microseconds_of(value: Any) -> tuple[int, str | None]:
    if value is None or value == "":
        return 0, "null timestamp"
    text = str(value).strip(" \t\n\r\v\f") if isinstance(value, str) else ""
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?"
        r"(?: ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?",
        text,
        re.ASCII,
    )
    if not found:
        return 0, "unreadable timestamp"
    day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = dt.datetime.fromisoformat(day).replace(
            hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0)
        )
    except ValueError:
        return 0, "unreadable timestamp"
    offset = 0
    if zone and zone not in ("Z", "UTC", "GMT"):
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            return 0, "unreadable timestamp"
        offset = (1 if zone[0] == "+" else -1) * (hours * 60 + minutes) * 60
    whole = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(seconds=1) - offset
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=min(max(whole, -(10**10)), 10**11))
    if not 1990 <= moment.year <= 2100:
        return 0, "timestamp out of range"
    return whole * 10**6 + int((fraction or "0").ljust(9, "0")[:6]), None


def judge(row: Row, rules: ParseRules) -> tuple[Any, ...]:
    """("kept", source, target, units, ts) or (reason,) or ("late",) or ("early",)."""
    ts = None
    if rules.timestamp:
        ts, problem = microseconds_of(row.get("timestamp"))
        if problem:
            return (problem,)
        if rules.end_us is not None and ts >= rules.end_us:
            return ("late",)
        if rules.start_us is not None and ts < rules.start_us:
            return ("early",)
    found = [id_of(row.get(end)) for end in ("source", "target")]
    event = row.get("event") if rules.event else "view"
    factor = EVENTS.get(str(event), 0.0) if rules.event else 1.0
    units, weight_problem = units_of(row.get("weight"), factor) if rules.weight else units_of(factor, 1.0)
    problems = [problem for _, problem in found]
    if isinstance(event, (bool, list, dict)):
        problems.append("wrong type")
    if weight_problem == "wrong type":
        problems.append(weight_problem)
    for problem in ("wrong type", "null id", "unreadable id"):
        if problem in problems:
            return (problem,)
    if event is None or event == "":
        return ("null event",)
    if rules.event and str(event) not in EVENTS:
        return ("unknown event",)
    if weight_problem:
        return (weight_problem,)
    source, target = (value for value, _ in found)
    if rules.is_plain and source == target and not rules.keeps_self_loops:
        return ("self loop",)
    return ("kept", source, target, units, ts)


def is_canonical(text: str) -> bool:
    return bool(re.fullmatch(r"0|-?[1-9]\d*", text, re.ASCII)) and -(2**63) <= int(text) < 2**63
