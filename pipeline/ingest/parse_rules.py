"""The configuration's words for the input, as rules that parsing follows."""

import datetime as dt
from collections.abc import Collection
from dataclasses import replace

from pipeline.config.sections import InputConfig, RelationConfig
from pipeline.ingest.decay import half_life_us
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.run_date import end_of, time_rules
from pipeline.ingest.timestamps import DAY_US
from pipeline.workspace import Lineage


def parse_rules(
    section: InputConfig,
    date: dt.date,
    today: dt.date | None = None,
    lineage: Lineage | None = None,
    *,
    is_undirected: bool = False,
    numbered_types: Collection[str] = (),
) -> ParseRules:
    """Return which rows of a relation count for a date, and what their columns are called."""
    end = end_of(date) if section.timestamp else None
    return replace(
        time_rules(section),
        section=section.section,
        source=section.source,
        target=section.target,
        weight=section.weight,
        event=section.event,
        event_weights=dict(section.event_weights),
        start_us=end - section.window_days * DAY_US if end is not None and section.window_days else None,
        end_us=end,
        future_us=end_of(today) if today is not None else None,
        is_plain=section.is_plain,
        is_undirected=is_undirected,
        has_many_targets=section.has_many_targets,
        separator=section.separator if isinstance(section, RelationConfig) else None,
        numbered_ends=tuple(end for end in ("source", "target") if getattr(section, f"{end}_type") in numbered_types),
        keeps_self_loops=section.self_loops == "keep",
        half_life_us=half_life_us(section.half_life_days) if section.half_life_days else None,
        epoch_us=end if lineage is None else end_of(lineage.start),
    )
