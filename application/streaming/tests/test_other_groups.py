"""Which consumers count as those of another group on the same books."""

from collections.abc import Mapping
from typing import Any

from assay.domain.errors import Unavailable
from assay_streaming.groups import others


def test_only_those_that_answer_for_themselves_count() -> None:
    """Not one that was killed, that has another's address, reads elsewhere, or is of this group."""
    said: dict[str, Mapping[str, Any]] = {
        "a": {"run_id": "a", "group": "theirs"},
        "same": {"run_id": "same", "group": "ours"},
        "silent about it": {"run_id": "silent about it"},
        "address of a": {"run_id": "a", "group": "theirs"},
        "elsewhere": {"run_id": "elsewhere", "group": "theirs"},
    }

    def ask(url: str) -> Mapping[str, Any]:
        if url not in said:
            raise Unavailable("killed")
        return said[url]

    noted = [
        {"run_id": name, "source": "kafka/t", "status_url": name}
        for name in (*said, "killed")
        if name != "elsewhere"
    ]
    noted.append({"run_id": "elsewhere", "source": "kafka/u", "status_url": "elsewhere"})
    assert list(others(noted, ask, source="kafka/t", group="ours")) == ["theirs"]
