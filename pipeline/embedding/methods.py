"""The embedding methods a run can name.

To add one: write it beside fastrp.py, from what method.py and products.py have, with its :class:`MethodSpec`, and
list the spec here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config.embedding import embedding_section
from pipeline.config.model import config_model
from pipeline.embedding.fastrp import CLASSIC, TWO_TOWER
from pipeline.embedding.log_transition import LOG_TRANSITION
from pipeline.embedding.low_pass import LOW_PASS, PLAIN_LOW_PASS
from pipeline.embedding.method import Method
from pipeline.embedding.method_spec import MethodSpec
from pipeline.embedding.ppr.factorised import FACTORISED, PLAIN_FACTORISED
from pipeline.embedding.ppr.hashed import HASHED, PLAIN_HASHED
from pipeline.embedding.settings import Settings
from pipeline.embedding.spectral_specs import BIPARTITE, PLAIN
from pipeline.embedding.spectrum import LARGEST, PLAIN_SPECTRUM, SPECTRUM

#: Of several forms of a method that fit the keys, the first is taken.
_FORMS = (
    TWO_TOWER,
    CLASSIC,
    LOW_PASS,
    PLAIN_LOW_PASS,
    BIPARTITE,
    PLAIN,
    LOG_TRANSITION,
    FACTORISED,
    PLAIN_FACTORISED,
    HASHED,
    PLAIN_HASHED,
)
_BEFORE_OTHERS = (LARGEST, SPECTRUM, PLAIN_SPECTRUM)

#: By form.
METHODS: Mapping[str, MethodSpec] = MappingProxyType({spec.form: spec for spec in (*_FORMS, *_BEFORE_OTHERS)})

#: The models of [embedding] and of the whole configuration, with the keys of these methods.
EMBEDDING = embedding_section(_FORMS)
CONFIG = config_model(EMBEDDING)


def spec_for(settings: Settings) -> MethodSpec:
    """Return the spec of the form that the settings name; the config has refused all others."""
    return METHODS[settings.form]


def method_for(settings: Settings) -> Method:
    """Return the rounds of the form that the settings name."""
    return spec_for(settings).rounds
