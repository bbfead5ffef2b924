"""What people call the dependencies of a pump: one role is another thing in each service."""

from collections.abc import Mapping
from typing import Final

_ALWAYS: Final = {"classifier": "the model API", "store": "PostgreSQL"}

OF_FILES: Final = _ALWAYS | {
    "source": "the place of the files",
    "publisher": "the place of the rejects",
}
OF_TABLE: Final = _ALWAYS | {"source": "PostgreSQL"}
OF_STREAM: Final = _ALWAYS | {"source": "Kafka", "records": "the schema registry"}
OF_TOPICS: Final = OF_STREAM | {"store": "Kafka"}
OF_TARGET: Final = OF_STREAM | {"store": "Kafka or the target"}
_OF: Final = {"stream": OF_STREAM, "postgres": OF_STREAM, "classify": OF_TOPICS}
OF_LETTERS: Final = _ALWAYS | {
    "source": "PostgreSQL",
    # They are read again where a letter holds their head only.
    "records": "Kafka or the schema registry",
}


def of_pipeline(name: str | None) -> Mapping[str, str]:
    """Those of a service that reads a topic, by the pipeline that its metrics name."""
    return OF_STREAM if name is None else _OF.get(name, OF_TARGET)
