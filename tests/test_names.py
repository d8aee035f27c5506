"""Names of classes are unique in the product, so that a name in a message, a type or a search means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("graphquilt", "jobs", "pipeline", "schemas")


def public_classes() -> dict[str, list[str]]:
    """Return the files of each public class at the top of a module."""
    files: dict[str, list[str]] = defaultdict(list)
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            for statement in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
                    files[statement.name].append(str(path.relative_to(ROOT)))
    return files


def test_a_public_class_has_a_name_of_its_own() -> None:
    classes = public_classes()
    assert len(classes) > 200  # the product was found
    assert {name: files for name, files in classes.items() if len(files) > 1} == {}
