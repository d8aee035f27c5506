from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config.model import NOT_BUILT_YET, PipelineConfig, key_reference
from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError

MINIMAL = '[input]\npath = "in.parquet"\n'


def read(folder: Path, text: str, *overrides: str) -> PipelineConfig:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return CONFIG.from_toml(path, overrides)


def refused(folder: Path, text: str, *words: str, overrides: tuple[str, ...] = ()) -> None:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, *overrides)
    for word in words:
        assert word in str(caught.value)


def test_defaults_are_the_designs(tmp_path: Path) -> None:
    config = read(tmp_path, MINIMAL)
    assert (config.input.source, config.input.target, config.input.max_rejected_share) == ("source", "target", 0.01)
    assert (config.embedding.method, config.embedding.dim, config.embedding.boundary) == ("fastrp", 128, "exchange")
    assert (config.partition.method, config.evaluate.source, config.publish.name) == ("auto", "next_day", "default")


@pytest.mark.parametrize(
    ("types", "form"), [('target_type = "item"', "two_tower"), ('source_type = "x"\ntarget_type = "x"', "classic")]
)
def test_the_form_follows_the_types(types: str, form: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{MINIMAL}{types}\n").form == form


def test_it_is_frozen(tmp_path: Path) -> None:
    config = read(tmp_path, MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.embedding.dim = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty", "graphquilt init"]),
        ("[input]\n", ["input.path is missing"]),
        (MINIMAL + "[embeddings]\ndim = 3", ["no key embeddings", "did you mean 'embedding'?"]),
        (MINIMAL + "[embedding]\ndimm = 3", ["no key embedding.dimm", "did you mean 'dim'?"]),
        (MINIMAL + "[embedding]\nzzz = 3", ["no key embedding.zzz", "choose from"]),
        (MINIMAL + "[embedding]\ndim = 0", ["embedding.dim is 0", "columns of the embedding"]),
        (MINIMAL + "[embedding]\nsparsity = 0.5", ["embedding.sparsity", "at least 1"]),
        (
            MINIMAL + "[publish.gates]\nmin_pairs_kept = 1.5",
            ["publish.gates.min_pairs_kept is 1.5;", "less than or equal to 1, or input should be 'off'"],
        ),
        (MINIMAL + "[embedding]\niteration_weights = [0, 0]", ["every weight is 0"]),
        (MINIMAL + "[embedding]\ndegree_power = nan", ["embedding.degree_power"]),
        (MINIMAL + "[evaluate]\nk = [0]", ["evaluate.k", "at least 1"]),
        (MINIMAL + '[partition]\nmethod = "none"\nparts = 2', ["'none' keeps one block, but parts is 2"]),
        (MINIMAL + "half_life_days = 3", ["half_life_days needs timestamp"]),
        (MINIMAL + 'timestamp = "t"\nhalf_life_days = 1e-12', ["input.half_life_days is 1e-12", "age at which"]),
        (MINIMAL + 'timestamp = "t"\nhalf_life_days = 1e6', ["input.half_life_days is 1000000", "52124"]),
        (MINIMAL + "[embedding]\ndim = true", ["dim is true, and no switch: columns of the embedding"]),
        (MINIMAL + 'timestamp = "t"\nhalf_life_days = false', ["half_life_days is false, and no switch"]),
        (MINIMAL + 'timestamp = "source"', ["timestamp is 'source', which holds ids; name another column"]),
        (MINIMAL + 'weight = "target"', ["weight is 'target', which holds ids; name another column"]),
        (MINIMAL + 'comment = ""', ["input.comment", "at least 1"]),
        (MINIMAL + 'comment = ","', ["comment is ','", "can't hold delimiter"]),
        (MINIMAL + r'delimiter = "\u0000"', ["can't hold line ends", "NULs"]),
        (MINIMAL + 'encoding = "idna"', ["encoding is 'idna', in which Python reads no text"]),
        (MINIMAL + 'encoding = "punycode"', ["encoding is 'punycode', in which Python reads no text"]),
        (MINIMAL + 'delimiter = "whitespace"\ncomment = "# "', ["comment is '# '"]),
        (MINIMAL + """comment = '%"'""", ["can't hold delimiter, quote"]),
        (MINIMAL + 'comment = "%\\n"', ["or control characters"]),
        (MINIMAL + 'event = "kind"', ["event_weights"]),
        (MINIMAL + 'event = "kind"\n[input.event_weights]\nview = 0.0', ["event_weights.view"]),
        (MINIMAL + 'source_type = "item"\n[embedding]\nform = "two_tower"', ["two_tower", "'classic'"]),
        ("[input", ["not TOML"]),
    ],
)
def test_mistakes_are_named(text: str, words: list[str], tmp_path: Path) -> None:
    refused(tmp_path, text, "config.toml", *words)


@pytest.mark.parametrize(("section", "key", "value"), NOT_BUILT_YET)
def test_what_is_not_built_is_refused_with_what_to_use(section: str, key: str, value: str, tmp_path: Path) -> None:
    text = f'{MINIMAL}[{section}]\n{key} = "{value}"\n'
    refused(tmp_path, text, f"{section}.{key} is '{value}'", NOT_BUILT_YET[section, key, value])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml can't be read"):
        CONFIG.from_toml(tmp_path / "nothing.toml")


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    given = ["embedding.dim=64", "publish.name=shop", 'evaluate.source="none"', "evaluate.k=[5, 10]", "input.path=a=b"]
    config = read(tmp_path, MINIMAL + "[embedding]\ndim = 3", *given)
    assert (config.embedding.dim, config.publish.name, config.evaluate.source) == (64, "shop", "none")
    assert (config.evaluate.k, config.input.path) == ((5, 10), "a=b")


@pytest.mark.parametrize("override", ["dim", "dim=3", "embedding.=3", "input.path.deeper=3", "embedding.dims=3"])
def test_overrides_that_name_no_key(override: str, tmp_path: Path) -> None:
    refused(tmp_path, MINIMAL, overrides=(override,))


def test_every_key_is_described_once() -> None:
    keys = [(section, key) for section, key, _, _ in key_reference(CONFIG)]
    assert len(keys) == len(set(keys)) > 40
    assert all(about for *_, about in key_reference(CONFIG))
    choices = {(section, key): about for section, key, _, about in key_reference(CONFIG)}
    assert "metis" in choices["partition", "method"]
