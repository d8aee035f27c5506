"""Which tables share a space: its name changes where vectors can't be compared any more, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.model import PipelineConfig
from pipeline.embedding import methods
from pipeline.embedding.methods import CONFIG, METHODS
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.release_tables.vector_space import family_of, fixed_space, vector_facts
from pipeline.stages import chain
from tests.conftest import ROOT

SAMPLE = ROOT / "examples" / "sample" / "config.toml"
TWO_TYPES = ("input.source_type=user", "input.target_type=item")
LOW_PASS, HASHED = "embedding.form=low_pass", ("embedding.method=ppr", "embedding.form=hashed")
#: Of the sample, and of the same config with two types: what readers hold against the table that they were trained on.
FROZEN: dict[str, tuple[tuple[str, ...], str]] = {
    "classic": ((), "d55e1d7e54ff1fbb"),
    "plain_low_pass": ((LOW_PASS,), "08de6fdc12686e07"),
    "plain": (("embedding.method=spectral",), "754662383c89ed38"),
    "plain positive": (("embedding.method=spectral", "embedding.eigenvalues=positive"), "27e826afba5c6f62"),
    "plain accelerated": (("embedding.method=spectral", "embedding.accelerate=true"), "b6270978b1356fb6"),
    "log_transition": (("embedding.method=spectral", "embedding.form=log_transition"), "1b6d4913e774504b"),
    "plain_factorised": (("embedding.method=ppr",), "60be55f00daf5f46"),
    "plain_hashed": (HASHED, "8fb19d772e522345"),
    "two_tower": (TWO_TYPES, "ec006eb9fbb696f1"),
    "classic of two types": ((*TWO_TYPES, "embedding.form=classic"), "d55e1d7e54ff1fbb"),
    "low_pass": ((*TWO_TYPES, LOW_PASS), "1ed756260240cb6f"),
    "bipartite": ((*TWO_TYPES, "embedding.method=spectral"), "633758962fd434aa"),
    "bipartite rotated": ((*TWO_TYPES, "embedding.method=spectral", "embedding.rank=512"), "1c599ebd34db3c20"),
    "factorised": ((*TWO_TYPES, "embedding.method=ppr"), "1e838671b25cff11"),
    "hashed": ((*TWO_TYPES, *HASHED), "72a4795048ab4945"),
    "border": (("embedding.boundary=border",), "31f55eff41add93a"),
    "halo": (("embedding.boundary=halo",), "d90a55a16a570239"),
    "self influence": (("embedding.self_influence=0.5",), "6aa773677aaab817"),
}


def settings_for(config: PipelineConfig, nodes: int = 60_000) -> Settings:
    two = not config.input.is_plain
    source, target = ((0, nodes // 2), (nodes // 2, nodes)) if two else ((0, nodes), (0, nodes))
    return Settings(GraphSummary(nodes, source, target), config.embedding, config.form, config.ppr)


def space_of(config: PipelineConfig, **changes: Any) -> str:
    """The table's space; of eigenpairs, the family of tables that can be turned into each other's."""
    if METHODS[config.form].has_own_axes:
        return family_of(config)
    manifest = SimpleNamespace(figures={})
    workspace: Any = SimpleNamespace(fingerprints={"partition": "p", "index": "i"}, manifest=lambda _: manifest)
    return fixed_space(settings_for(config, **changes), workspace)


def config_with(*words: str) -> PipelineConfig:
    return CONFIG.from_toml(SAMPLE, words)


@pytest.mark.parametrize("name", FROZEN)
def test_the_spaces_of_the_sample_are_frozen(name: str) -> None:
    words, want = FROZEN[name]
    assert space_of(config_with(*words)) == want, "raise the version, of those tables alone that can't be compared"


def test_every_form_is_frozen() -> None:
    published = {form for form, spec in METHODS.items() if spec.space}
    assert {config_with(*words).form for words, _ in FROZEN.values()} == published


@pytest.mark.parametrize("name", FROZEN)
def test_another_version_of_a_stage_is_the_same_space(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, want = FROZEN[name]
    later = tuple(SimpleNamespace(**{**vars(stage), "algorithm_version": 99}) for stage in chain.STAGES)
    monkeypatch.setattr(chain, "STAGES", later)
    assert space_of(config_with(*words)) == want


@pytest.mark.parametrize("name", FROZEN)
def test_a_new_key_changes_the_space_of_those_who_use_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, want = FROZEN[name]
    config = config_with(*words)
    spec = METHODS[config.form]

    def with_key(neutral: object) -> str:
        # "align" is no parameter of any form: it stands for a key that is yet to come.
        later = replace(spec, later_keys={**spec.later_keys, "align": neutral})
        monkeypatch.setattr(methods, "METHODS", {**METHODS, config.form: later})
        return space_of(config)

    assert with_key(True) == want
    assert with_key(False) != want


def test_a_later_default_does_not_make_two_spaces_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = config_with()
    used = config_with("embedding.self_influence=0.5")
    assert space_of(first) != space_of(used)
    # As if 0.5 were the default of tomorrow: left out by nobody.
    assert vector_facts(settings_for(used))["parameters"]["self_influence"] == 0.5
    assert "self_influence" not in vector_facts(settings_for(first))["parameters"]


def test_the_version_is_raised_where_empty_random_rows_were_many() -> None:
    def version(*words: str, nodes: int = 60_000) -> int:
        found: int = vector_facts(settings_for(config_with(*words), nodes))["algorithm_version"]
        return found

    sqrt_n = "embedding.sparsity=sqrt_n"
    assert version() == version("embedding.dim=16") == version(sqrt_n, nodes=200) == 1
    assert version(sqrt_n) == version(sqrt_n, *TWO_TYPES) == version("embedding.dim=4") == 2  # 59 % and 20 % of rows
    assert (
        version(sqrt_n, "embedding.projection=normal") == version("embedding.method=spectral", "embedding.dim=4") == 1
    )
