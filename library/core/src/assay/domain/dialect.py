"""How a supplier's CSV is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """The dialect of delimited text, one character each.

    Attributes:
        delimiter: between the fields of a record; one ASCII character.
        quote: opens a quoted field at a field's start only; doubled inside it. None: no quoting.
        encoding: what the files are written in. A byte order mark goes before it.
        fallback_encodings: tried in this order for a record that `encoding` cannot decode.
    """

    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    fallback_encodings: tuple[str, ...] = ()
