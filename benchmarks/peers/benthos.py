"""Benthos, the engine of Redpanda Connect, with components of its own for Kafka and PostgreSQL.

The pipeline is YAML (`benthos/pipeline.yaml`): batches of 5,000 messages; Bloblang holds each
against the rules; `branch`, `archive`, `http` and `unarchive` make one call of the API of them, as
JSON, in as many threads as there are cores; `switch` sends what breaks a rule to the dead-letter
topic, and the rest to PostgreSQL. Kafka is read and written by franz-go; both tables are copied in
one transaction a batch, up to four at once. These are 400 lines of Go beside the pipeline, in
place of the components of Redpanda Connect, whose module is in part under the Redpanda Community
License; its `sql` outputs insert rows, where COPY is quicker.

At least once: a position is committed once all records before it are dealt with, and a batch that
fails is tried again; killed between the commit of PostgreSQL and that of the offsets, it fails for
ever at the first key that is there already. It keeps no books.

It is built by Go 1.26 or later (https://go.dev/dl; an older one since 1.21 fetches that itself).

Run as a process: `benthos.py TOPIC GROUP RECORDS LETTERS`; it ends after so many records.
`BENCHMARK_BENTHOS` names the program.
"""

import os
import sys
from pathlib import Path


def main(topic: str, group: str, records: str, letters: str) -> None:
    """Becomes the program, so that nothing but it is measured."""
    program = os.environ["BENCHMARK_BENTHOS"]
    environment = {
        **os.environ,
        "BENCHMARK_TOPIC": topic,
        "BENCHMARK_GROUP": group,
        "BENCHMARK_RECORDS": records,
        "BENCHMARK_LETTERS": letters,
    }
    pipeline = str(Path(__file__).with_name("benthos") / "pipeline.yaml")
    os.execve(program, [program, "run", pipeline], environment)  # noqa: S606 - our own program


if __name__ == "__main__":
    main(*sys.argv[1:])
