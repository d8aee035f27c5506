"""Names in the product: a class has one of its own, and a value is named by what it is."""

from __future__ import annotations

import ast
import re
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


#: Participles, which say what was done to a value, and pronouns, which point at it.
NO_NOUN = re.compile(
    "[a-z]+ed|begun|broken|built|chosen|done|drawn|found|given|gone|held|hidden|kept|known|lost|made|met|said|seen|sent"
    "|shown|taken|told|written|each|here|nobody|one|others|some|there|these|those|what|who"
)
OTHER_WORDS_IN_ED = {"embed", "feed", "need", "seed", "speed", "unused"}


def is_no_noun(name: str) -> bool:
    """Return whether a name is such a word alone; before a noun, as in ``rejected_rows``, it may stand."""
    word = name.strip("_")
    return NO_NOUN.fullmatch(word) is not None and word not in OTHER_WORDS_IN_ED


def names_of_values(tree: ast.Module) -> list[tuple[str, int]]:
    """Return variables, arguments, functions and classes, with their lines; fields may be keys of a format."""
    fields = {
        id(statement.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            names.append((node.id, node.lineno))
        elif isinstance(node, ast.arg):
            names.append((node.arg, node.lineno))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append((node.name, node.lineno))
    return names


def test_a_value_is_named_by_what_it_is() -> None:
    sample = ast.parse("def held(chosen, seed): one, kept_rows = chosen\nclass A:\n    found: int")
    assert [name for name, _ in names_of_values(sample) if is_no_noun(name)] == ["held", "chosen", "one"]
    offences = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, line in names_of_values(ast.parse(path.read_text(encoding="utf-8")))
        if is_no_noun(name)
    ]
    assert offences == [], "name these by what they are (CONTRIBUTING.md)"
