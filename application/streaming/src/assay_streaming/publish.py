"""Files put on the topic, record by record."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event

import polars as pl

from assay.contract.contract import Contract
from assay.domain.chunk import Chunk
from assay.domain.errors import DATA, DONE, TEMPORARY, AssayError, Fatal
from assay.domain.outcome import CLASSIFIED, Outcome, letters
from assay.domain.pattern import is_pattern
from assay.domain.position import Partition, Positions
from assay.domain.reject import by_code
from assay.pipeline.files import Decompress, FileSource, decode
from assay.ports.objects import Object, Objects
from assay.wire.envelope import letters_to_jsonl
from assay.wire.json import transaction_objects
from assay_streaming.outlet import Message, Sent


class NoSuchFile(Fatal):
    """A file that was named does not exist."""

    exit_code = DATA


@dataclass
class Published:
    """What has become of the files.

    Attributes:
        files: those that were read to their end.
        read: records.
        rejected: records that make no message, by code and field.
        problems: files that could not be read to their end.
        is_stopped: whether somebody has ended it before all was read.
    """

    files: int = 0
    read: int = 0
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    problems: dict[Partition, AssayError] = field(default_factory=dict[Partition, AssayError])
    is_stopped: bool = False


def find(objects: Objects, uris: Sequence[str]) -> list[Object]:
    """The files under these URIs, each once, in order.

    Raises:
        NoSuchFile: one that is named, not matched, does not exist.
    """
    found: dict[Partition, Object] = {}
    for uri in uris:
        matched = list(objects.list(uri))
        if not matched and not is_pattern(uri) and not uri.endswith("/"):
            raise NoSuchFile(f"{uri} does not exist; a folder ends in /, a pattern has * or ?")
        found |= {each.partition: each for each in matched if each.partition not in found}
    return list(found.values())


def publish(
    objects: Objects,
    items: Sequence[Object],
    contract: Contract,
    sent: Sent,
    asked: Event,
    *,
    decompress: Decompress,
    published: Published,
    run_id: str,
    keep: Callable[[bytes], object],
    destination: str,
) -> None:
    """Puts every record of the files that makes a message on the topic, valid or not.

    Args:
        objects: where the files are.
        items: the files.
        contract: how they are written.
        sent: takes the messages, whose keys are the transactions' ids.
        asked: ends it when it is set.
        decompress: by the file's name.
        published: what has become of them, noted as it goes.
        run_id: of this run, for the rejects.
        keep: takes the rejects, as JSON lines; before the first messages are sent, no bytes.
        destination: where `keep` puts them.

    Raises:
        AssayError: the files cannot be had, or nothing more is taken or kept.
    """
    source = FileSource(objects, items, contract, decompress)
    for chunk in source.events(_from_the_beginning):
        if not isinstance(chunk, Chunk):
            continue
        candidates, rejects = decode(chunk, contract)
        keep(b"")  # what cannot be kept is not found out when messages are on the topic
        sent.put(messages(candidates))
        if asked.is_set():
            published.is_stopped = True
            break
        if rejects.height:
            origin = f"files/{contract.id}"
            keep(letters_to_jsonl(_letters(chunk, rejects, origin, run_id, destination)))
        published.read += chunk.records.height
        published.rejected.update(by_code(rejects))
        published.files += sum(each.end == "finished" for each in chunk.ranges)
        source.ack({each.partition: each.position for each in chunk.ranges})
    published.problems |= source.failed


def ending(published: Published) -> tuple[str, int]:
    """The status and exit code of what was published, provided that all messages were delivered.

    What may succeed later goes before what fails again.
    """
    errors = [each.exit_code for each in published.problems.values()]
    if published.is_stopped:
        errors.append(TEMPORARY)
    if errors:
        return "incomplete", max(errors)
    return ("some_rejected", DATA) if published.rejected else ("done", DONE)


def messages(candidates: pl.DataFrame) -> list[Message]:
    """A message for each candidate, in order; its key is its id."""
    values = transaction_objects(candidates).cast(pl.Binary)
    keys = candidates["transaction_id"].cast(pl.Binary)
    return list(zip(keys.to_list(), values.to_list(), strict=True))


def _letters(
    chunk: Chunk, rejects: pl.DataFrame, origin: str, run_id: str, destination: str
) -> pl.DataFrame:
    """The rejects as dead letters, as if nothing else had been in the chunk."""
    (covered,) = chunk.ranges
    outcome = Outcome(
        run_id=run_id,
        source=origin,
        ranges=(replace(covered, read=rejects.height),),
        records=chunk.records[rejects["row"]],
        classified=pl.DataFrame(schema=CLASSIFIED),
        rejects=rejects.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")),
        destination=destination,
        headers=chunk.headers,
    )
    return letters(outcome, outcome.rejects)


def _from_the_beginning(_: Sequence[Partition]) -> Positions:
    return {}
