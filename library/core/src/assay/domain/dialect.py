"""How a supplier's CSV is written."""

import codecs
from dataclasses import dataclass
from typing import Final

BYTE_ORDER_MARKS: Final = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks and the encodings that they stand for, in the order in which to look."""

WIDE: Final = ("utf-16", "utf-32")
"""What codecs of more than one byte a character begin with."""


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

    @property
    def numbering(self) -> str:
        """All that decides where a record ends, and so which one a position is of: see `Position`.

        Wide encodings differ from those that have ASCII in them.
        """
        codec = codec_of(self.encoding)
        width = codec if codec.startswith(WIDE) else "bytes"
        return f"delimiter {self.delimiter!r}, quote {self.quote!r}, {width}"


def codec_of(encoding: str) -> str:
    """Python's name of an encoding, with the byte order that files without a mark mostly have."""
    name = codecs.lookup(encoding).name
    return {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(name, name)
