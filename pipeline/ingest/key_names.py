"""What messages of the readers call keys: they say ``input.delimiter``, and read for other sections too."""

import contextlib
import re
from collections.abc import Iterator

from pipeline.config.sections import InputConfig
from pipeline.errors import InputError

_KEY = re.compile(rf"\binput\.(?=(?:{'|'.join(InputConfig.model_fields)})\b)")


@contextlib.contextmanager
def key_names_of(section: str) -> Iterator[None]:
    """Let errors of the input name the keys of a section, such as ``relations.follows``, from which it is read."""
    try:
        yield
    except InputError as error:
        text = with_key_names_of(section, str(error))
        if text == str(error):
            raise
        raise type(error)(text) from error


def with_key_names_of(section: str, text: str) -> str:
    """Return a text that names the keys of ``[input]`` with those of a section."""
    return _KEY.sub(f"{section}.", text)
