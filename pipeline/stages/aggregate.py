"""The tables of a release: each is written as its own object says, still in the workspace."""

from typing import Any

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.release_tables.alignment import rotation_file
from pipeline.release_tables.cold_fits import fit_cold_rows, turn_maps
from pipeline.release_tables.excluded_ids import judge_excluded_ids
from pipeline.release_tables.published_table import TableRun, WrittenTable
from pipeline.release_tables.published_tables import PUBLISHED_TABLES
from pipeline.stages.night_codes import ROW_CODES, describe_origin, open_codes
from pipeline.stages.outcome import Outcome, OutputFile, describe_task_files
from pipeline.tasks import TaskRecord
from pipeline.workspace import Workspace
from schemas.tables import ATTRIBUTE_MAP

NAME = "aggregate"


def run(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace) -> Outcome:
    """Write the files of the tables that a run with this configuration has; publishing them is another stage's."""
    tables: dict[str, WrittenTable[Any]] = {}
    earlier_codes = open_codes(config, workspace) if config.codes.of_vectors else None
    table_run = TableRun(engine, config, workspace, tables, earlier_codes)
    records: list[TaskRecord[Any]] = [*judge_excluded_ids(table_run)]
    cold_fit = fit_cold_rows(table_run)
    maps = turn_maps(table_run, cold_fit, rotation_file(table_run)) if cold_fit.files else ()
    records += [*cold_fit.records, *cold_fit.files, *maps]
    files: dict[str, list[OutputFile]] = {ATTRIBUTE_MAP.name: describe_task_files(maps, ATTRIBUTE_MAP.name)}
    figures: dict[str, dict[str, Any]] = {ATTRIBUTE_MAP.name: codec.to_values(cold_fit.figures)}
    for table in PUBLISHED_TABLES:
        figures[table.name] = codec.to_values(table.figures())
        if table.is_wanted(config):
            output = tables[table.name] = table.write(table_run)
            files[table.name] = describe_task_files(output.files, table.name)
            figures[table.name] = codec.to_values(output.figures)
            records += output.records
            for name, working in output.working.items():
                files[name] = describe_task_files([working.record], working.role)
                figures[name] = {**working.figures, **describe_origin(ROW_CODES, config, workspace)}
    return Outcome(files, records=records, table_figures=figures)
