"""What the configuration says to people: its findings as sentences, its keys as a table."""

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from graphquilt.toml_text import toml_string


def explain(error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any]) -> str:
    """Turn pydantic's findings about ``raw`` into sentences: the key, the value found, the value wanted."""
    sentences = []
    wrong: dict[str, tuple[Any, list[str], str]] = {}
    for finding in error.errors():
        place = [str(part) for part in finding["loc"] if isinstance(part, str)]
        owner = _owner_of(finding["loc"], raw)
        name = ".".join((*owner, *(place[1:] if owner else place)))
        if finding["type"] == "extra_forbidden":
            keys = _keys_at(model, place[:-1])
            near = difflib.get_close_matches(place[-1], keys, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {sorted(keys)}"
            sentences.append(f"there is no key {name}; {hint}")
        elif finding["type"] == "missing":
            sentences.append(f"{name} is missing ({_description_at(model, place)})")
        elif finding["type"] == "value_error":
            text = str(finding["ctx"]["error"])
            sentences.append(f"{name}: {text}" if name else text)
        else:
            inner = _without_branch(model, place)
            name = ".".join((*owner, *(inner[1:] if owner else inner)))
            _, demands, _ = wrong.setdefault(name, (finding["input"], [], _description_at(model, place)))
            demands.append(finding["msg"][0].lower() + finding["msg"][1:])
    for name, (value, demands, about) in wrong.items():
        sentence = f"{name} is {value!r}; {', or '.join(dict.fromkeys(demands))}"
        sentences.append(f"{sentence} ({about})" if about else sentence)
    return "; ".join(dict.fromkeys(sentences))


def _owner_of(loc: Sequence[int | str], raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the relation is called whose key is there; nothing of other keys. Without [input], the first is it."""
    relations = raw.get("relations")
    if not isinstance(relations, list | tuple):
        return ()
    offset = int("input" not in raw)
    if loc[:1] == ("input",) and offset:
        number = 0
    elif loc[:1] == ("relations",) and len(loc) > 1:
        number = int(loc[1]) + offset
    else:
        return ()
    entry = relations[number] if number < len(relations) else None
    return ("relations", str(entry.get("name", number) if isinstance(entry, Mapping) else number))


def _section_at(model: type[BaseModel], place: Sequence[str]) -> type[BaseModel] | None:
    steps = iter(place)
    for key in steps:
        field = model.model_fields.get(key)
        inner = None if field is None else _inner_section(field.annotation)
        if inner is None:
            return None
        model, is_named = inner
        if is_named:
            next(steps, None)  # the name itself
    return model


def _inner_section(annotation: Any) -> tuple[type[BaseModel], bool] | None:
    """Return the section that a key holds, and whether it holds one for each name; None if it holds a value."""
    is_named = get_origin(annotation) is dict
    inner = annotation
    if get_origin(annotation) in (dict, tuple):  # by name, or one after the other
        inner = get_args(annotation)[is_named]
    return (inner, is_named) if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _keys_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    section = _section_at(model, place)
    return list(section.model_fields) if section else []


def _without_branch(model: type[BaseModel], place: Sequence[str]) -> Sequence[str]:
    """Drop what a finding of a union ends in, the name of the branch that was tried: "sparsity.float"."""
    section = _section_at(model, place[:-2])
    field = section.model_fields.get(place[-2]) if section else None
    return place[:-1] if field and get_origin(field.annotation) in (Union, UnionType) else place


def _description_at(model: type[BaseModel], place: Sequence[str]) -> str:
    for end in range(len(place), 0, -1):
        section = _section_at(model, place[: end - 1])
        if section and place[end - 1] in section.model_fields:
            return section.model_fields[place[end - 1]].description or ""
    return ""


def keys_of(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, description) of every key of a section and of those inside it, in order."""
    rows: list[tuple[str, str, str, str]] = []
    for name, field in model.model_fields.items():
        section = _inner_section(field.annotation)
        if section is not None and get_origin(field.annotation) is tuple:
            own = section[0].__annotations__  # beside those of the section that it extends
            rows.extend(row for row in keys_of(section[0], f"[{name}]") if row[1] in own)
            continue
        if section is not None and not section[1]:
            rows.extend(keys_of(section[0], f"{prefix}.{name}" if prefix else name))
            continue
        if section is not None:
            rows.extend(keys_of(section[0], f"{name}.<node type>"))
            continue
        inner = field.annotation
        default = "required" if field.is_required() else _toml_value(field.get_default(call_default_factory=True))
        choices = _choices(inner)
        about = field.description or ""
        rows.append((prefix, name, default, f"{about} ({' | '.join(choices)})" if choices else about))
    return rows


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []


def _toml_value(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return str(value)
