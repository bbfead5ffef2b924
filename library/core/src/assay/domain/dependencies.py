"""What people call the dependencies of a pump: one role is another thing in each service."""

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
OF_LETTERS: Final = _ALWAYS | {
    "source": "PostgreSQL",
    # They are read again where a letter holds their head only.
    "records": "Kafka or the schema registry",
}
