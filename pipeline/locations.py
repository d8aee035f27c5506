"""The type of a field or argument that holds a location: a dataclass with one crosses processes as text."""

from pathlib import Path
from typing import Annotated

from pydantic import GetPydanticSchema
from pydantic_core import core_schema

from graphquilt.locations import ObjectPath, parse_location

#: A path of this machine, or an address in an object store.
Location = Annotated[
    Path | ObjectPath,
    GetPydanticSchema(
        lambda _, __: core_schema.no_info_after_validator_function(
            parse_location,
            core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(),
        )
    ),
]
