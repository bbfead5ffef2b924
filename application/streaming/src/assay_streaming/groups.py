"""Which other groups read the same topic into the same tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from assay.domain.errors import Unavailable


def others(
    noted: Iterable[Mapping[str, Any]],
    ask: Callable[[str], Mapping[str, Any]],
    *,
    source: str,
    group: str,
) -> Iterator[str]:
    """Groups besides this one whose consumers answer now; one that was killed does not.

    Args:
        noted: runs that have not ended, as far as is known: `run_id`, `source`, `status_url`.
        ask: one at its address what it says of itself; raises `Unavailable` if it does not answer.
        source: what they must read.
        group: whose members are no others.
    """
    for run in noted:
        if run["source"] != source:
            continue
        with suppress(Unavailable):
            facts = ask(run["status_url"])
            # Another one may have its address now, or the same address on this machine.
            if facts.get("run_id") == run["run_id"] and facts.get("group", group) != group:
                yield str(facts["group"])
