"""JSON Schema to GBNF, soundly: whatever the grammar allows validates; what cannot be promised is refused by name.

    document     the client's schema: bounds, numbered parts, references
    shapes       what a schema allows of one JSON type
    keywords     which keywords are understood; a schema's own shapes
    conjunction  what two shapes have in common; which values are of a shape
    complement   what a shape does not allow (for `not` and conditions)
    expand       schemas to unions of shapes
    strings      characters, formats, keys        numbers  bounds, digit by digit
    rules        grammar rules as data            writer   shapes to rules

JSON Schema 2020-12 (json-schema.org/draft/2020-12); `items` with a list, `definitions` and `dependencies` as before.
"""

from __future__ import annotations

from typing import Any

from engine.replica.schema.document import Document
from engine.replica.schema.expand import Expander
from engine.replica.schema.writer import Writer

MAX_GBNF_BYTES = 1024 * 1024


def to_gbnf(schema: Any, field: str) -> str:
    """A grammar whose every text is JSON that validates against `schema`.

    Raises InvalidArgument, with the keyword appended to `field`, for what is unsupported, contradictory or too large.
    """
    document = Document(schema, field)
    try:
        writer = Writer(document, Expander(document))
        gbnf = writer.write(document.state(schema))
    except RecursionError:
        raise document.refuse("refers to itself through too many parts", "$ref") from None
    if gbnf is None:
        if writer.too_many_properties:
            raise document.refuse("needs more properties than it names", "minProperties")
        raise document.refuse("allows no value at all")
    if len(gbnf) > MAX_GBNF_BYTES:
        raise document.refuse("needs too large a grammar")
    return gbnf
