"""Which Python, packages and Java are here, and whether they are what the metadata of our two packages require."""

import operator
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

#: Extras that people install, and whether the commands can do without.
_EXTRAS = {"": True, "local": True, "spark": False, "connect": False, "lake": False, "graphframes": False}
_MEANS = {
    "": "every command needs it",
    "local": "every command but 'current', 'check' and 'query' needs it",
    "spark": "needed for --engine spark only",
    "connect": "needed for --remote, a Spark Connect server, only",
    "lake": "needed for input that is a Delta or Iceberg table only",
    "graphframes": "needed for partition.components or partition.top_seed = 'graphframes' only",
}
_REQUIREMENT = re.compile(r"""([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;.*extra\s*==\s*['"]([\w-]+)['"])?""")
_JAVA = 17
_PIPELINE = "graphquilt-pipeline"


@dataclass(frozen=True)
class Finding:
    """One thing that doctor looks at. ``advice`` says what its lack means and how to mend it."""

    subject: str
    found: str
    is_fine: bool
    is_needed: bool = True
    advice: str = ""


def python() -> Finding:
    """Judge the interpreter."""
    version = f"{platform.python_version()} at {sys.executable}, {platform.machine()}"
    is_fine = (3, 11) <= sys.version_info[:2] < (3, 14)
    advice = "Python 3.11, 3.12 or 3.13 is needed: make the environment with one"
    return Finding("python", version, is_fine, advice=advice)


def packages() -> list[Finding]:
    """Judge our own packages, and every package that they or their extras require."""
    try:
        version = metadata.version(_PIPELINE)
        requirements = [*(metadata.requires(_PIPELINE) or []), *(metadata.requires("graphquilt") or [])]
    except metadata.PackageNotFoundError as error:
        advice = "run from installed packages, not from a bare folder: pip install 'graphquilt-pipeline[local]'"
        return [Finding(error.name or _PIPELINE, "not installed", is_fine=False, advice=advice)]
    findings = [Finding(_PIPELINE, version, is_fine=True)]
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match[1] != _PIPELINE and (match[3] or "") in _EXTRAS:
            findings.append(_package(match[1], match[2].strip(" ()"), match[3] or ""))
    return findings


def _package(name: str, bounds: str, extra: str) -> Finding:
    is_needed = _EXTRAS[extra]
    how = f"{_MEANS[extra]}: pip install " + (f"'{_PIPELINE}[{extra}]'" if extra else _PIPELINE)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", is_fine=False, is_needed=is_needed, advice=how)
    is_fine = all(_holds(version, bound.strip()) for bound in bounds.split(",") if bound.strip())
    finding = version if is_fine else f"{version}, but {bounds} is wanted"
    return Finding(name, finding, is_fine, is_needed, how)


def _holds(version: str, bound: str) -> bool:
    """Whether a version is within ">=2.0", "<3" or "==1.0"; other kinds of bounds are not ours."""
    match = re.fullmatch(r"(>=|<|==)\s*([\d.]+)", bound)
    if match is None:
        return True
    compare = {">=": operator.ge, "<": operator.lt, "==": operator.eq}[match[1]]
    return bool(compare(_numbers(version), _numbers(match[2])))


def _numbers(version: str) -> tuple[int, ...]:
    # As numbers: "3.10" is above "3.4". Without zeros at the end: 2.0 is 2.
    text = re.sub(r"(\.0+)*\.?$", "", re.match(r"[\d.]*", version)[0])  # type: ignore[index]
    return tuple(map(int, text.split(".")))


def java() -> Finding:
    """Find the Java that Spark would start, and its version."""
    home = os.environ.get("JAVA_HOME")
    command = os.path.join(home, "bin", "java") if home else shutil.which("java")
    advice = (
        f"--engine spark needs Java {_JAVA} or later (Debian: apt-get install openjdk-17-jre-headless, or set "
        "JAVA_HOME); --engine local needs none"
    )
    if command is None:
        return Finding("java", "not found", is_fine=False, is_needed=False, advice=advice)
    try:
        process = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("java", f"{command} does not run ({error})", is_fine=False, is_needed=False, advice=advice)
    match = re.search(r'version "(\d+)(?:\.(\d+))?', process.stderr + process.stdout)
    # Java 8 calls itself 1.8.
    version = int(match[2] or 0) if match and match[1] == "1" else int(match[1]) if match else 0
    first = (process.stderr + process.stdout).splitlines()[0]
    return Finding("java", f"{first} at {command}", version >= _JAVA, is_needed=False, advice=advice)
