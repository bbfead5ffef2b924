"""A run that reads and validates, and writes nothing anywhere."""

from collections.abc import Sequence

from assay.domain.chunk import Chunk
from assay.domain.errors import RejectLimitExceeded
from assay.domain.position import Positions
from assay.domain.reject import by_code
from assay.domain.tally import Tally
from assay.domain.transaction import split
from assay.pipeline.files import Decompress, FileSource, decode
from assay.pipeline.limit import RejectLimit
from assay.ports.objects import Objects
from assay_batch.places import find
from assay_batch.run import Progress, Request, Result, exit_code


def dry_run(
    request: Request,
    objects: Objects,
    decompress: Decompress,
    result: Result,
    progress: Progress,
) -> None:
    """Reads the files from their beginnings, whatever was committed of them.

    Neither a database nor a model is asked, so a record that would be a duplicate or refused by
    the model counts as valid, which is what `classified` says in `result`.

    Files that a run would leave alone for too many rejects are among the problems.

    Raises:
        AssayError: the files cannot be had.
    """
    found = find(objects, request.uris, request.places)
    source = FileSource(
        objects,
        found,
        request.contract,
        decompress,
        limit=request.limit,
    )
    result.found = len(found)
    limit = RejectLimit(request.policy.reject_limit)
    progress.begin(len(found), sum(each.size for each in found))
    for event in source.events(_from_the_beginning):
        if isinstance(event, Chunk):
            candidates, undecodable = decode(event, request.contract)
            valid, invalid = split(candidates)
            result.codes.update(by_code(undecodable))
            result.codes.update(by_code(invalid))
            rejected = undecodable.height + invalid.height
            tally = Tally(valid.height + rejected, valid.height, rejected)
            result.tally += tally
            result.note_ends(event.ranges)
            _judge(event, tally, limit, result)
            source.ack({each.partition: each.position for each in event.ranges})
            progress.committed(result.tally, source.bytes_read)
    result.status = "dry_run"
    result.problems |= source.failed
    result.exit_code = exit_code(result)


def _judge(chunk: Chunk, tally: Tally, limit: RejectLimit, result: Result) -> None:
    """Notes where a run would leave the chunk's file alone."""
    (covered,) = chunk.ranges
    ended = covered.end is not None or chunk.is_last
    if limit.is_exceeded(covered.partition, tally, ended=ended):
        judged = limit.judged(covered.partition, tally)
        result.problems[covered.partition] = RejectLimitExceeded(
            f"a run would stop at it: {judged.rejected:,} of {judged.read:,} records would be "
            "rejected, so that it is the contract that is wrong, or --reject-limit 1 is to be "
            "given. `assay contract validate CONTRACT --sample FILE --show` shows some of them"
        )
    limit.record(covered.partition, tally)


def _from_the_beginning(_: Sequence[str]) -> Positions:
    return {}
