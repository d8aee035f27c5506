"""Make what a cluster is given, in a folder: the wheels, the jobs, and an environment for machines without Python.

The environment is a copy of this interpreter with its standard library, the packages, the shared libraries that they
load, and kernels compiled for a stated CPU. It runs at any path on a Linux of the same architecture whose glibc is not
older than the one that bundle.json names. pyspark stays out: the cluster brings its own.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from elf_libraries import gather_libraries, needed_glibc

from pipeline.cpu_baseline import BASELINES, write_baseline

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
VERSION = "{}.{}".format(*sys.version_info)
#: What a pipeline never loads, and what would pull in libraries of a desktop.
_LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "tkinter", "turtledemo", "ensurepip", "config-*")
_FILES_LEFT_OUT = ("__pycache__", "EXTERNALLY-MANAGED", "_tkinter*", "_test*", "_xxtest*", "nis.*", "ossaudiodev.*")
#: Finds the interpreter beside the script; to Python, the second line is a text.
_SCRIPT_HEAD = '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(readlink -f -- "$0")")/python" "$0" "$@"\n\' \'\'\'\n'
_PIP_HEAD = re.compile(r"\A#!.*\n(?:'''exec' .*\n' '''\n)?")


def main() -> None:
    """Make the bundle, try its environment at another path, and say what it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder.absolute()
    if platform.libc_ver()[0] != "glibc" or platform.machine() not in BASELINES:
        sys.exit(
            f"bundle: this is {platform.system()} on {platform.machine()}; an environment needs Linux with glibc on "
            f"one of {sorted(BASELINES)}. Elsewhere install the wheels on all nodes"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheels = build_wheels(folder)
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    with tempfile.TemporaryDirectory(dir=folder) as work:
        environment = Path(work) / "environment"
        copy_interpreter(environment)
        install_packages(environment, wheels)
        gather_libraries(environment)
        rewrite_scripts(environment / "bin")
        compile_ahead(environment)
        about = describe(environment)
        pack(environment, folder / "environment.tar.gz")
        shutil.rmtree(environment)
        elsewhere = Path(work) / "elsewhere"
        elsewhere.mkdir()
        run("tar", "-C", elsewhere, "-xzf", folder / "environment.tar.gz")
        try_environment(elsewhere)
    (folder / "bundle.json").write_text(about, encoding="utf-8")
    print(about, end="")


def build_wheels(folder: Path) -> dict[str, Path]:
    """Build the wheels of both projects, and return them by the names of their packages."""
    for project in (ROOT / "graphquilt", ROOT):
        # By way of a source archive: a wheel that is built in the clone holds what earlier builds left there.
        run(sys.executable, "-m", "build", "--outdir", folder, project)
    for archive in folder.glob("*.tar.gz"):
        archive.unlink()
    return {wheel.name.split("-")[0]: wheel for wheel in folder.glob("*.whl")}


def copy_interpreter(environment: Path) -> None:
    """Copy the interpreter below this environment's with its standard library; Python finds that from its own place."""
    (environment / "bin").mkdir(parents=True)
    base = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    python = Path(shutil.copy(base, environment / "bin" / f"python{VERSION}"))
    for name in ("python", "python3"):
        (environment / "bin" / name).symlink_to(python.name)
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    # Links are followed: Debian has some files of it in /etc.
    shutil.copytree(
        library,
        environment / "lib" / f"python{VERSION}",
        ignore=shutil.ignore_patterns(*_LEFT_OUT, *_FILES_LEFT_OUT),
    )
    # As in a virtual environment: a user's own packages on some node are not this environment's.
    (environment / "pyvenv.cfg").write_text("include-system-site-packages = false\n")


def install_packages(environment: Path, wheels: dict[str, Path]) -> None:
    """Install both wheels with all that the engines need but pyspark, at the versions of constraints/."""
    wheel = wheels["graphquilt_pipeline"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for_spark = project["optional-dependencies"]["spark"]
    others = [requirement for requirement in for_spark if not requirement.startswith(("pyspark", "graphquilt"))]
    run(
        *(*PIP, "--python", environment / "bin" / "python", "install", "--quiet"),
        *(wheels["graphquilt"], f"{wheel}[local]", *others),
        *("--constraint", ROOT / "constraints" / f"py{VERSION}.txt"),
        DEB_PYTHON_INSTALL_LAYOUT="deb_system",  # Debian's Python installs below /usr/local otherwise
    )


def rewrite_scripts(folder: Path) -> None:
    """Make the scripts that pip wrote find the interpreter where they lie."""
    for script in folder.iterdir():
        if not script.is_symlink() and script.read_bytes().startswith(b"#!"):
            text = _PIP_HEAD.sub(lambda _: _SCRIPT_HEAD, script.read_text(encoding="utf-8"))
            script.write_text(text, encoding="utf-8")


def compile_ahead(environment: Path) -> None:
    """Compile all of Python's modules, and the kernels for the baseline of this architecture."""
    python = environment / "bin" / "python"
    # Unchecked: a clock or a copy that changes times on a node does not make all of Python compile again.
    how = ("-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", environment)
    run(python, "-m", "compileall", *how, environment / "lib", is_checked=False)
    (sources,) = environment.glob("lib/python*/*-packages/pipeline/kernels")
    write_baseline(sources, BASELINES[platform.machine()])
    run(environment / "bin" / "graphquilt", "doctor", "--warm")


def describe(environment: Path) -> str:
    """Say in the environment what it holds and what it needs of a machine; return that, as JSON."""
    about = {
        "graphquilt": (ROOT / "graphquilt" / "VERSION").read_text(encoding="utf-8").strip(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "glibc": needed_glibc(environment),
        "cpu": BASELINES[platform.machine()].cpu,
    }
    text = json.dumps(about, indent=2) + "\n"
    (environment / "bundle.json").write_text(text, encoding="utf-8")
    return text


def pack(environment: Path, archive: Path) -> None:
    """Pack the environment without names of this machine's users."""
    run("tar", "-C", environment, "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-czf", archive, ".")


def try_environment(environment: Path) -> None:
    """Check that the environment runs at another path, and that its kernels need not be compiled there."""
    answer = subprocess.run(
        [environment / "bin" / "graphquilt", "doctor", "--json"],
        env=clean_variables(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        sys.exit(f"bundle: the environment does not run at another path:\n{answer.stdout}{answer.stderr}")
    (kernels,) = (one for one in json.loads(answer.stdout)["findings"] if one["subject"] == "kernels")
    if not kernels["is_fine"]:
        sys.exit(f"bundle: kernels would be compiled again at another path: {kernels['found']}")


def clean_variables() -> dict[str, str]:
    """Return this process's variables without those that lead Python or numba elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA_"))}


def run(*command: object, is_checked: bool = True, **variables: str) -> None:
    """Run a command; show what it printed only if it fails."""
    words = [str(word) for word in command]
    variables = clean_variables() | variables
    # Not from the clone: Python would import its packages instead of those that were installed.
    process = subprocess.run(words, env=variables, cwd="/", capture_output=True, text=True, check=False)
    if process.returncode and is_checked:
        sys.exit(f"bundle: {' '.join(words)} failed:\n{process.stdout}{process.stderr}")


if __name__ == "__main__":
    main()
