"""The command line: which command, its options, its exit code. A command's module is imported when it runs."""

import importlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NoReturn

from graphquilt.masking import secret_of_argument
from graphquilt.options import nearest_word
from graphquilt.process import describe_missing, lasting_objects, run_process
from graphquilt.signals import StopSignal
from jobs.answers import explain_error, say, say_error
from jobs.arguments import (
    STAGE_NAMES,
    CommandParser,
    Options,
    add_stage_options,
    command_parser,
    options_of,
    stage_parser,
    stages_named,
)
from jobs.logs import configure_logging
from jobs.stopping import StopRequest, reason_of
from pipeline.absent_packages import without_package
from pipeline.config.toml_file import read_toml
from pipeline.errors import ConfigError

#: The module of each command that is no run: its docstring is the command's help, ``add_options(parser)`` adds its
#: options, ``answer(options)`` is what it does.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "init": "jobs.commands.init",
        "plan": "jobs.commands.plan",
        "tune": "jobs.commands.tune",
        "export": "jobs.commands.export",
        "inspect": "jobs.commands.workspace_view",
        "query": "jobs.commands.query",
        "report": "jobs.commands.report",
        "rollback": "jobs.commands.rollback",
        "clean": "jobs.commands.clean",
        "doctor": "jobs.commands.doctor",
        "config": "jobs.commands.config_keys",
    }
)


def main(argv: Sequence[str]) -> int:
    """Run a command of ``graphquilt``; return its exit code."""
    return _report_errors(f"graphquilt {argv[0]}", argv, lambda: _main(argv[0], argv[1:]))


def _report_errors(program: str, argv: Sequence[str], run: Callable[[], int]) -> int:
    """Run a command: none ends in a bare traceback, or without its JSON."""
    is_json = "--json" in argv
    if refusal := secret_of_argument(argv):
        return say_error(refusal, ConfigError.exit_code, is_json=is_json)
    try:
        return run()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (sentence := describe_missing(program, error)):
            return say_error(sentence, ConfigError.exit_code, is_json=is_json)
        from pipeline.storage.disk_space import full, is_full  # imports pyarrow, which --help doesn't wait for

        reason = full(program, Path.cwd(), None, error) if is_full(error) else error
        return say_error(*explain_error(reason, f"command={program.split()[-1]}"), is_json=is_json)


def _main(command: str, argv: Sequence[str]) -> int:
    configure_logging()
    if command == "evaluate":
        return _evaluate(argv)
    if command == "run" or command in STAGE_NAMES:
        return _run(command, argv)
    if command not in COMMANDS:
        commands = ["run", *STAGE_NAMES, *COMMANDS, "current", "check"]
        near = nearest_word(command, commands)
        hint = f"did you mean '{near}'? There are" if near else "choose from"
        raise ConfigError(f"there is no command '{command}'; {hint} {', '.join(commands)}")
    module = importlib.import_module(COMMANDS[command])
    if command == "query":
        kind, argv = module.split_kind(argv)
        command, module = f"query {kind}", module.QUERIES[kind]
    options = parser_of(command, module).parse_args(argv)
    if getattr(options, "config", None) is not None:
        read_toml(options.config)  # a second before what else would find out that it is missing
    return say(module.answer(options), is_json=options.is_json)


def parser_of(command: str, module: ModuleType) -> CommandParser:
    """Return the parser of a command from its module."""
    parser = command_parser(command, module.__doc__ or "")
    module.add_options(parser)
    return parser


def _evaluate(argv: Sequence[str]) -> int:
    """The stage, or a report on a published table: two things under one name."""
    from jobs.commands import evaluate

    options = evaluate.parser().parse_args(argv)
    if evaluate.is_stage(options):
        return execute(("evaluate",), options_of(options))
    return say(evaluate.answer(options), is_json=options.is_json)


def _run(command: str, argv: Sequence[str]) -> int:
    if command != "run":
        example = f"  graphquilt {command} --config config.toml --workspace work --date 2024-06-01"
        parser = command_parser(command, f"The stage '{command}' alone. {_ABOUT_STAGE}\n\nexamples\n{example}")
        add_stage_options(parser)
        return execute((command,), options_of(parser.parse_args(argv)))
    parser = command_parser("run", _RUN_HELP)
    add_stage_options(parser)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"default: all of {' '.join(STAGE_NAMES)}")
    namespace = parser.parse_intermixed_args(argv)
    return execute(stages_named(namespace.stages), options_of(namespace))


def run_job(name: str) -> NoReturn:
    """Run a stage, or all of them for "run", as this process's spark-submit job; exit with its code."""
    program, names = f"{name}.py", STAGE_NAMES if name == "run" else (name,)

    def job(argv: Sequence[str]) -> int:
        return _report_errors(
            program, argv, lambda: execute(names, options_of(stage_parser("spark", program).parse_args(argv)))
        )

    sys.exit(run_process(job, sys.argv[1:]))


def execute(names: Sequence[str], options: Options) -> int:
    """Run stages in one engine; return the exit code.

    Every ending that has a date leaves its verdict in the date's ``gate.json``: in cluster mode nobody sees
    the exit code.
    """
    configure_logging(is_verbose=options.verbose)
    try:
        read_toml(options.config)  # before a second's imports, and before Spark
    except ConfigError as error:
        if options.date is None:
            return say_error(str(error), error.exit_code, is_json=options.is_json)
        from jobs.stage_run import StageRun

        return StageRun(names, options).fail(error)
    if options.engine == "local":
        _leave_out_pandas()  # Spark wants it
    with StopRequest() as stop:
        run = None
        try:
            with lasting_objects():
                from jobs.stage_run import StageRun  # a second's imports: --help and wrong options don't wait for them

            run = StageRun(names, options)
            run.go(stop)
        except Exception as error:  # each ending has a verdict
            stop.settle()
            if run is None:
                raise
            return run.fail(stop.reason or error)
        except (KeyboardInterrupt, StopSignal):
            stop.settle()
            reason = stop.reason or reason_of(signal.SIGINT)
            return run.fail(reason) if run else say_error(str(reason), reason.exit_code, is_json=options.is_json)
        stop.settle()
        return run.finish()


def _leave_out_pandas() -> None:
    """Let pyarrow find no pandas: it looks for it once, as it makes its first array."""
    import pyarrow as pa

    with without_package("pandas"):
        pa.array([0])


_RUN_HELP = """\
Runs the whole chain, or some stages in a row: interactions in, a published table out.
What is already made from the same input and config is not made again, so the same
command resumes a run that was stopped.

examples
  graphquilt run --config config.toml --workspace work
  graphquilt run --config config.toml --workspace work --date 2024-06-01 --workers 4
  graphquilt run index partition --config config.toml --workspace work
  graphquilt run --config config.toml --workspace work --set embedding.dim=64 --json
  graphquilt run --config config.toml --workspace /mnt/work --engine spark --conf spark.master=local[4]"""

_ABOUT_STAGE = """Its inputs must have been made
from the same config; if it is made already, nothing is done."""
