"""The grammar of delimited text, as regular expressions.

Follows RFC 4180. A quote opens a field only at the field's start and is doubled inside it; anywhere
else it is an ordinary character.
"""

from assay.domain.dialect import Dialect


def hexed(character: str) -> str:
    """An ASCII character as it may stand in any regular expression."""
    return f"\\x{ord(character):02x}"


def record_pattern(dialect: Dialect, *, after: str = "") -> str:
    """The pattern of a well-formed record.

    Args:
        dialect: with a quote.
        after: what else may stand between a closing quote and the next delimiter.
    """
    delimiter, quote = hexed(dialect.delimiter), hexed(dialect.quote or "")
    inside = f"[^{quote}]*(?:{quote}{quote}[^{quote}]*)*"
    plain = f"[^{delimiter}{quote}\\r\\n][^{delimiter}\\r\\n]*"
    one = f"(?:{quote}{inside}{quote}{after}|{plain})?"
    return f"{one}(?:{delimiter}{one})*"


def simple_pattern(dialect: Dialect) -> str:
    """The pattern of a record whose delimiters all delimit and whose quotes enclose cells."""
    delimiter, quote = hexed(dialect.delimiter), hexed(dialect.quote or "")
    one = f"(?:{quote}[^{delimiter}{quote}]*{quote}|[^{delimiter}{quote}]*)"
    return f"^{one}(?:{delimiter}{one})*$"
