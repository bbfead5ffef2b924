"""Which names a prefix or a pattern selects."""

import re
from collections.abc import Callable
from typing import Final

from assay.domain.errors import Fatal

_SPECIAL: Final = re.compile(r"[*?[]")
_TOKEN: Final = re.compile(
    r"(?P<folders>(?:\A|(?<=/))\*\*/)|(?P<all>\*\*)|(?P<some>\*)|(?P<one>\?)"
    r"|\[(?P<other>[!^]?)(?P<set>\]?[^]]*)\]|(?P<character>.)",
    re.DOTALL,
)


def is_pattern(text: str) -> bool:
    """Whether it holds one of `*`, `?` and `[`."""
    return _SPECIAL.search(text) is not None


def literal(text: str) -> str:
    """What all selected names begin with: the text before its first special character."""
    return _SPECIAL.split(text, maxsplit=1)[0]


def exact(name: str) -> str:
    """The pattern that selects this name alone."""
    return _SPECIAL.sub(r"[\g<0>]", name)


def selector(text: str) -> Callable[[str], bool]:
    """Whether a name is selected by a prefix or pattern.

    - Nothing, or a text that ends in `/`, selects all names that begin with it.
    - `*` stands for any characters but `/`, `?` for one of them, `[abc]`, `[a-z]` and `[!a-z]` for
      one that is, or is not, among those. `**` stands for any characters, and `**/` at the start or
      after a `/` for any number of folders, none included.
    - A special character in brackets stands for itself: `[*]`.
    - A name that reads like the pattern itself is selected as well.

    Raises:
        Fatal: the pattern has no meaning.
    """
    anything = "**" if not text or text.endswith("/") else ""
    try:
        expression = re.compile(_TOKEN.sub(_translated, text + anything), re.DOTALL)
    except re.error as error:
        raise Fatal(f"{text} is no pattern: {error}") from error
    return lambda name: name == text or expression.fullmatch(name) is not None


def _translated(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "folders":
            return "(?:.*/)?"
        case "all":
            return ".*"
        case "some":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            members = re.sub(r"[\\[&~|^]", r"\\\g<0>", token["set"])
            return f"(?!/)[{'^' if token['other'] else ''}{members}]"
        case _:
            return re.escape(token[0])
