"""Looks at Python, packages, Java, cores, memory, the cache of compiled kernels and, if one is given,
a workspace. Exits 1 if something is missing that runs need; Java and Spark are needed for
--engine spark only.

examples
  graphquilt doctor
  graphquilt doctor --workspace /mnt/shared/work
  graphquilt doctor --warm
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict

from graphquilt.output import amount
from jobs.answers import Answer, columns
from jobs.arguments import CommandParser
from jobs.commands.installed import Finding, java, packages, python


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    command.add_argument("--warm", action="store_true", help="compile all kernels now, so that no task has to")
    command.add_argument("--workspace", metavar="ADDRESS", help="try whether runs can work there")


def answer(options: argparse.Namespace) -> Answer:
    """Look at everything; what can't be looked at is a finding, too."""
    from jobs.commands.machine import cores, memory_bytes

    findings = [
        *(python(), *packages(), java()),
        Finding("cores", f"{cores():g}", is_fine=True),
        Finding("memory", amount(memory_bytes()), is_fine=True),
        _temporary(),
    ]
    seconds: float | None = None
    if _has_all(findings):
        if options.warm:
            seconds = _warm()
        from jobs.commands.kernel_cache import kernel_cache

        findings.append(kernel_cache())
    if options.workspace:
        findings += _workspace(options.workspace)
    is_healthy = _has_all(findings)
    facts = {"ok": is_healthy, "findings": [asdict(finding) for finding in findings], "warm_seconds": seconds}
    return Answer(facts, _text(findings, seconds, is_healthy), 0 if is_healthy else 1)


def _has_all(findings: Sequence[Finding]) -> bool:
    """Whether all that runs need is here."""
    return all(finding.is_fine for finding in findings if finding.is_needed)


def _warm() -> float:
    from pipeline.kernels.warm import warm_kernels

    start = time.monotonic()
    warm_kernels()
    return round(time.monotonic() - start, 1)


def _temporary() -> Finding:
    """Say where temporary files go; a TMPDIR that can't be written is passed over in silence elsewhere."""
    tmpdir = os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        advice = "workers and sessions keep files there: set TMPDIR to a folder that this user can write"
        return Finding("temporary files", str(error.strerror), is_fine=False, advice=advice)
    is_fine = not tmpdir or os.path.realpath(tmpdir) == os.path.realpath(folder)
    advice = f"TMPDIR is {tmpdir}, which is no folder that this user can write: correct or unset it"
    space = f"{folder}, {amount(shutil.disk_usage(folder).free)} free"
    return Finding("temporary files", space, is_fine, is_needed=False, advice=advice)


def _workspace(address: str) -> list[Finding]:
    from jobs.commands.storage_probe import probe
    from pipeline.errors import GraphquiltError

    try:
        return probe(address)
    except GraphquiltError as error:
        return [Finding("workspace", address, is_fine=False, advice=str(error))]


def _text(findings: Sequence[Finding], seconds: float | None, is_healthy: bool) -> str:
    verdicts = ("ok" if finding.is_fine else "LACKS" if finding.is_needed else "-" for finding in findings)
    rows = [(verdict, finding.subject, finding.found) for verdict, finding in zip(verdicts, findings, strict=True)]
    lines = columns(rows, "")
    if seconds is not None:
        lines.append(f"kernels compiled, or found in the cache, in {seconds:.1f} s")
    lines += [f"{finding.subject}: {finding.advice}" for finding in findings if not finding.is_fine and finding.advice]
    return "\n".join([*lines, "all that runs need is here" if is_healthy else "something that runs need is missing"])
