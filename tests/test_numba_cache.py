"""Compiled kernels are kept where this user can write and nobody else can, or not at all."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.numba_cache import cache_folder
from tests.other_user import NOBODY, as_another_user

ROOT = Path(__file__).parents[1]


@pytest.fixture
def nothing_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources; beside it and in the user's home files stand where folders would be made."""
    sources = tmp_path / "kernels"
    sources.mkdir()
    for name in ("kernels/__pycache__", "home", "named"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return sources


def test_the_order_is_numbas_own(nothing_writable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    private = tmp_path / "tmp" / f"graphquilt-numba-{os.geteuid()}"
    assert cache_folder(nothing_writable) == private
    assert private.stat().st_mode & 0o777 == 0o700
    assert cache_folder(nothing_writable) == private  # and again
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(nothing_writable) == tmp_path / "xdg" / "numba"
    (nothing_writable / "__pycache__").unlink()
    assert cache_folder(nothing_writable) == nothing_writable / "__pycache__"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "other"))
    assert cache_folder(nothing_writable) == tmp_path / "other"


@pytest.mark.parametrize("trap", ["link", "file", "open to others", "another owner", "folder above open to others"])
def test_a_folder_that_others_could_fill_is_not_used(nothing_writable: Path, tmp_path: Path, trap: str) -> None:
    private = tmp_path / "tmp" / f"graphquilt-numba-{os.geteuid()}"
    if trap == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "theirs")
    elif trap == "file":
        private.touch()
    else:
        private.mkdir(mode=0o700)
        if trap == "open to others":
            private.chmod(0o770)
        elif trap == "another owner":
            as_another_user()
            os.chown(private, NOBODY, NOBODY)
        else:
            private.parent.chmod(0o777)
    assert cache_folder(nothing_writable) is None


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def of_another_user(folder: Path) -> None:
    as_another_user()
    os.chown(folder, NOBODY, NOBODY)


def below_an_open_one(folder: Path) -> None:
    folder.parent.chmod(0o777)


def with_an_open_folder_of_numbas(folder: Path) -> None:
    (leaf,) = folder.iterdir()  # made by the first look
    leaf.chmod(0o777)


def with_a_folder_of_numbas_that_is_anothers(folder: Path) -> None:
    """A sticky folder, as the temporary one is, keeps others from what is ours; not from being there first."""
    folder.chmod(0o1777)
    of_another_user(*folder.iterdir())


def link_of_another_user(folder: Path) -> None:
    as_another_user()
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    os.chown(folder, NOBODY, NOBODY, follow_symlinks=False)


IN_NUMBAS = with_an_open_folder_of_numbas, with_a_folder_of_numbas_that_is_anothers


@pytest.mark.parametrize(
    "spoil",
    [open_to_all, of_another_user, below_an_open_one, link_of_another_user, *IN_NUMBAS],
    ids=lambda spoil: spoil.__name__,
)
@pytest.mark.parametrize("which", ["named", "home", "__pycache__"])
def test_kernels_that_others_could_have_put_there_are_not_run(
    spoil: Callable[[Path], None], which: str, nothing_writable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a shared NUMBA_CACHE_DIR, or with HOME=/tmp, where anybody can make .cache first."""
    (tmp_path / "new").mkdir()
    if which == "named":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    elif which == "home":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (tmp_path / "new").rename(tmp_path / "numba")
    else:
        (tmp_path / "new").rename(nothing_writable / "new")
        (nothing_writable / "__pycache__").unlink()
        (nothing_writable / "new").rename(nothing_writable / "__pycache__")
    folder = {"named": tmp_path / "new", "home": tmp_path / "numba"}.get(which, nothing_writable / "__pycache__")
    assert cache_folder(nothing_writable) == folder
    if which != "__pycache__" or spoil not in IN_NUMBAS:
        spoil(folder)
        assert cache_folder(nothing_writable) != folder


def test_a_folder_of_our_own_in_a_shared_one_is_used(
    nothing_writable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new").chmod(0o1777)
    assert cache_folder(nothing_writable) == tmp_path / "new"


def test_a_group_of_ones_own_is_nobody_else(
    nothing_writable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every user has a group, new folders are open to it."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new").chmod(0o775)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    name = pwd.getpwuid(os.geteuid()).pw_name
    for group, members, is_used in ((name, [], True), (name, ["eve"], False), ("users", [], False)):
        entry = grp.struct_group((group, "x", 0, members))
        monkeypatch.setattr(grp, "getgrgid", lambda _, entry=entry: entry)
        assert (cache_folder(nothing_writable) == tmp_path / "new") is is_used


#: Compiles one kernel from a folder beside which nothing can be written, and says whether and where it was kept.
COMPILE = """
import sys
from pathlib import Path
from pipeline.numba_cache import keep_kernels
if sys.argv[2] == "numba first":
    import numba
keep_kernels(Path(sys.argv[1]))
sys.path.insert(0, sys.argv[1])
import twice
assert twice.twice(21) == 42
kept = twice.twice.stats.cache_path
print(kept)
"""


@pytest.mark.parametrize("when", ["numba first", "numba later"])
@pytest.mark.parametrize("has_temporary", [True, False])
@pytest.mark.parametrize("has_cache_beside", [True, False])
def test_kernels_compile_whether_or_not_they_can_be_kept(
    nothing_writable: Path, tmp_path: Path, when: str, has_temporary: bool, has_cache_beside: bool
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)  # never taken
    if has_cache_beside:
        (nothing_writable / "__pycache__").unlink()
    (nothing_writable / "twice.py").write_text(
        "import numba\n@numba.njit('int64(int64)', cache=True)\ndef twice(n):\n    return 2 * n\n"
    )
    if not has_temporary:
        (tmp_path / "tmp" / f"graphquilt-numba-{os.geteuid()}").touch()
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    env["NUMBA_CACHE_DIR"] = str(tmp_path / "open")
    command = [sys.executable, "-c", COMPILE, str(nothing_writable), when]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    place = f"{tmp_path}/tmp/graphquilt-numba-" if has_temporary else "None"
    assert done.stdout.startswith(f"{nothing_writable}/__pycache__" if has_cache_beside else place)


CONFIG = "[input]\npath = '{path}'\n[embedding]\ndim = 8\n[evaluate]\nsource = 'none'\n"


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """The other user's folder for temporary files; one for all tests, which compile once."""
    with tempfile.TemporaryDirectory(prefix="graphquilt-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "tmp").mkdir()
        os.chown(Path(folder) / "tmp", NOBODY, NOBODY)
        yield Path(folder) / "tmp"


DASK, SPARK = ["--workers", "2"], ["--engine", "spark", "--conf", "spark.master=local[2]"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("home", "engine"),
    [
        *((home, []) for home in (None, "/nonexistent", "/root", "unwritable")),
        (None, DASK),
        pytest.param(None, SPARK, marks=pytest.mark.spark),
    ],
)
def test_a_user_who_can_write_neither_home_nor_install_runs(
    home: str | None, engine: list[str], shared_folder: Path, temporary: Path
) -> None:
    prefix = as_another_user()
    rows = "\n".join(f"u{n % 40},i{n * n % 23}" for n in range(400))
    (shared_folder / "in.csv").write_text(f"source,target\n{rows}\n")
    (shared_folder / "c.toml").write_text(CONFIG.format(path=shared_folder / "in.csv"))
    (shared_folder / "work").mkdir()
    os.chown(shared_folder / "work", NOBODY, NOBODY)
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    env |= {"TMPDIR": str(temporary)}
    if home:
        env["HOME"] = str(shared_folder) if home == "unwritable" else home

    def said_by(*arguments: str) -> str:
        command = [*prefix, sys.executable, "-m", "graphquilt", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    where = ["--config", str(shared_folder / "c.toml"), "--workspace", str(shared_folder / "work")]
    assert "published: " in said_by("run", *where, *engine)
    told = said_by("doctor")
    assert f"cache: {temporary}/graphquilt-numba-{NOBODY}" in told
    assert " 0 of " not in told  # what was compiled is told
