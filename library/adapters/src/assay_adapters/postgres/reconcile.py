"""The books, proved from the tables alone."""

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, Engine, text

from assay.domain.books import Difference, Gap, OnTheWay, Report, Unfinished
from assay.domain.rescore import is_rescore
from assay.domain.tally import Tally
from assay_adapters.postgres.connection import translated, unlimited

_TOTAL: Final = text("""
    SELECT
        count(*),
        coalesce(sum(read), 0)::bigint,
        coalesce(sum(classified), 0)::bigint,
        coalesce(sum(rejected), 0)::bigint,
        coalesce(sum(duplicate), 0)::bigint,
        coalesce(sum(needs_review), 0)::bigint,
        coalesce(sum(read) FILTER (WHERE source = 'redrive'), 0)::bigint,
        coalesce(sum(read) FILTER (WHERE source = 'import'), 0)::bigint,
        coalesce(sum(read) FILTER (WHERE starts_with(source, 'rescore/')), 0)::bigint,
        coalesce(sum(read) FILTER (
            WHERE source IN (SELECT predictions FROM ledger WHERE predictions IS NOT NULL)
        ), 0)::bigint
    FROM ledger
""")
_UNFINISHED: Final = text("""
    SELECT
        source,
        partition,
        next,
        coalesce((
            SELECT min(first) FROM ledger
            WHERE ledger.source = positions.source AND ledger.partition = positions.partition
        ), next) AS first,
        numbering
    FROM positions
    WHERE end_state IS NULL AND source <> 'import' AND NOT starts_with(source, 'rescore/') AND (
        source <> 'redrive' OR EXISTS (
            SELECT FROM redrives
            WHERE redrives.run_id = partition AND leased_until > clock_timestamp()
        )
    )
    ORDER BY source, partition
""")
_ROWS: Final = text("""
    SELECT * FROM reconciliation
    WHERE misplaced <> 0 OR unbalanced <> 0 OR outside <> 0 OR doubled <> 0
        OR transactions <> CASE
            WHEN is_published OR starts_with(source, 'rescore/') THEN 0 ELSE classified
        END
        OR predicted <> CASE WHEN is_published THEN 0 ELSE classified END
        OR reviewed <> CASE WHEN is_published THEN 0 ELSE needs_review END
    ORDER BY source, partition, run_id
""")
_ORPHANS: Final = {
    "predictions without their transaction": text("""
        SELECT run_id, count(*)
        FROM predictions LEFT JOIN ledger USING (entry)
        WHERE NOT EXISTS (
            SELECT FROM transactions
            WHERE transactions.number = predictions.number
        )
        GROUP BY run_id
        ORDER BY run_id
    """),
    "transactions without a ledger entry": text("""
        SELECT NULL, count(*)
        FROM transactions
        WHERE NOT EXISTS (SELECT FROM ledger WHERE ledger.entry = transactions.entry)
        HAVING count(*) > 0
    """),
}
_POSITIONS: Final = text("""
    WITH last AS (
        SELECT DISTINCT ON (source, partition) source, partition, next, end_state
        FROM ledger
        WHERE predictions IS NULL
        ORDER BY source, partition, first DESC
    )
    SELECT source, partition, last.next, positions.next
    FROM last FULL JOIN positions USING (source, partition)
    WHERE (last.next, last.end_state) IS DISTINCT FROM (positions.next, positions.end_state)
        -- where books were let begin somewhere, nothing may have been read yet
        AND NOT (last.next IS NULL AND EXISTS (
            SELECT FROM runs
            WHERE runs.run_id = positions.run_id AND kind IN ('accept-gap', 'begin')
        ))
    ORDER BY source, partition
""")
# Books that were put aside have another name and the numbering that they had; those that follow
# have it, too, where the topic was cut. A ledger that is not there yet begins at the position.
_BEGINS: Final = text("""
    WITH books AS (
        SELECT
            source,
            split_part(partition, '#', 1) AS partition,
            numbering,
            coalesce((
                SELECT min(first) FROM ledger
                WHERE ledger.source = positions.source AND ledger.partition = positions.partition
            ), next) AS first
        FROM positions
        WHERE source IN (SELECT source FROM runs WHERE kind = 'begin')
    )
    SELECT source, partition, (entered ->> 'next')::bigint AS begins, min(first)
    FROM runs
    CROSS JOIN LATERAL jsonb_each(summary -> 'begins') AS begun (partition, entered)
    JOIN books USING (source, partition)
    WHERE kind = 'begin' AND numbering = entered ->> 'numbering'
    GROUP BY source, partition, numbering, begins
    HAVING NOT bool_or(first = (entered ->> 'next')::bigint)
    ORDER BY source, partition
""")
# Letters whose partition was put aside belong to its books under their other name.
# A redrive's rejects have their letters already, a rescore's have none; imported letters keep the
# origin that they had.
_LETTERS: Final = text("""
    WITH books AS (
        SELECT source, partition, sum(rejected)::bigint AS rejected
        FROM ledger
        WHERE source <> 'redrive' AND NOT starts_with(source, 'rescore/') AND predictions IS NULL
        GROUP BY source, partition
    ), kept AS (
        SELECT
            CASE WHEN import_run IS NULL THEN source ELSE 'import' END AS source,
            coalesce(import_run, concat_ws('#', partition, books)) AS partition,
            count(*) AS letters
        FROM dead_letters
        WHERE import_run IS NOT NULL
            OR source NOT IN (SELECT source FROM ledger WHERE predictions IS NOT NULL)
        GROUP BY 1, 2
    )
    SELECT source, partition, coalesce(rejected, 0), coalesce(letters, 0)
    FROM books FULL JOIN kept USING (source, partition)
    WHERE coalesce(rejected, 0) <> coalesce(letters, 0)
    ORDER BY source, partition
""")
_REDRIVEN: Final = text("""
    WITH books AS (
        SELECT
            run_id,
            sum(classified + duplicate)::bigint AS succeeded,
            sum(rejected)::bigint AS failed
        FROM ledger
        WHERE source = 'redrive'
        GROUP BY run_id
    ), kept AS (
        SELECT redrive AS run_id, count(*) AS closed
        FROM dead_letters
        WHERE state = 'closed'
        GROUP BY redrive
    ), noted AS (
        SELECT
            run_id,
            count(*) FILTER (WHERE action = 'closed') AS closings,
            count(*) FILTER (WHERE action = 'failed') AS failures
        FROM dead_letter_actions
        WHERE action IN ('closed', 'failed')
        GROUP BY run_id
    )
    SELECT
        run_id,
        coalesce(succeeded, 0) AS succeeded,
        coalesce(failed, 0) AS failed,
        coalesce(closed, 0) AS closed,
        coalesce(closings, 0) AS closings,
        coalesce(failures, 0) AS failures
    FROM books FULL JOIN kept USING (run_id) FULL JOIN noted USING (run_id)
    WHERE (coalesce(succeeded, 0), coalesce(succeeded, 0), coalesce(failed, 0))
        <> (coalesce(closed, 0), coalesce(closings, 0), coalesce(failures, 0))
    ORDER BY run_id
""")
_STRAY: Final = text("""
    SELECT ledger.run_id, count(*)
    FROM ledger JOIN transactions USING (entry)
    WHERE source = 'redrive' AND NOT EXISTS (
        SELECT FROM dead_letters
        WHERE redrive = ledger.partition AND number = transactions.position AND state = 'closed'
    )
    GROUP BY ledger.run_id
    ORDER BY ledger.run_id
""")
# Imported letters bring attempts along.
_LIVES: Final = text("""
    SELECT
        (
            SELECT count(*)
            FROM dead_letter_actions JOIN dead_letters ON dead_letters.id = letter
            WHERE action = 'failed' AND import_run IS NULL
        ) AS failures,
        (
            SELECT coalesce(sum(attempt - 1), 0) FROM dead_letters WHERE import_run IS NULL
        ) AS attempts,
        (SELECT count(*) FROM dead_letter_actions WHERE action = 'discarded') AS discardings,
        (SELECT count(*) FROM dead_letters WHERE state = 'discarded') AS discarded
""")
# What a classifier has put on topics comes here by several ways. What its ledger has said here for
# a while must have come by all of them, and nothing that came before may be without it. Letters are
# held against their range, predictions, which do not keep their place, against the sum. What
# somebody has accepted to be gone need not come, nor what lies before the offset where reading
# began: at most one for each such offset, and of a topic made anew what was not read by then.
_PUBLISHED: Final = text("""
    WITH counted AS (
        SELECT *, coalesce(copied_at, committed_at) < now() - :while AS is_old FROM ledger
    ), entered AS (
        SELECT
            predictions AS source,
            sum(classified) AS classified,
            coalesce(sum(classified) FILTER (WHERE is_old), 0) AS old
        FROM counted
        WHERE predictions IS NOT NULL
        GROUP BY predictions
    ), gaps AS (
        SELECT
            source,
            max(started_at) FILTER (WHERE summary -> 'replaced' <> '[]') AS replaced_at,
            sum((
                SELECT sum((entered ->> 'next')::bigint)
                FROM jsonb_each(summary -> 'begins') AS begun (partition, entered)
            )) FILTER (WHERE kind = 'begin') AS before
        FROM runs
        WHERE kind IN ('accept-gap', 'begin')
        GROUP BY source
    ), given_up AS (
        SELECT
            gaps.source,
            coalesce(before, 0) + coalesce((
                SELECT sum(next - first)
                FROM ledger JOIN runs USING (run_id)
                WHERE ledger.source = gaps.source AND kind = 'accept-gap'
            ), 0) + greatest(0, coalesce((
                SELECT sum(CASE WHEN predictions IS NULL THEN - read ELSE classified END)
                FROM ledger
                WHERE gaps.source IN (source, predictions) AND committed_at < replaced_at
            ), 0)) AS number
        FROM gaps
    ), others AS (
        -- whoever else writes there
        SELECT source, count(*) AS number
        FROM dead_letters
        WHERE import_run IS NULL AND stage = 'decode'
        GROUP BY source
    ), came AS (
        SELECT
            source,
            sum(read) - coalesce(max(others.number), 0) AS number,
            coalesce(sum(read) FILTER (WHERE is_old), 0) - coalesce(max(others.number), 0) AS old
        FROM counted LEFT JOIN others USING (source)
        WHERE source IN (SELECT source FROM entered)
        GROUP BY source
    ), placed AS (
        SELECT
            dead_letters.source,
            entry,
            count(*) AS number,
            bool_or(created_at < now() - :while) AS is_old
        FROM dead_letters
        LEFT JOIN LATERAL (
            SELECT entry, next
            FROM ledger
            WHERE ledger.source = dead_letters.source
                AND ledger.partition = concat_ws('#', dead_letters.partition, books)
                AND first <= position
            ORDER BY first DESC
            LIMIT 1
        ) AS origin ON next > position
        WHERE import_run IS NULL
            AND dead_letters.source IN (SELECT source FROM counted WHERE predictions IS NOT NULL)
        GROUP BY dead_letters.source, entry
    ), letters AS (
        SELECT
            coalesce(placed.source, counted.source) AS source,
            coalesce(counted.rejected, 0) AS expected,
            coalesce(placed.number, 0) AS found,
            CASE WHEN entry IS NULL THEN placed.is_old ELSE counted.is_old END AS is_old
        FROM placed
        FULL JOIN (SELECT * FROM counted WHERE predictions IS NOT NULL) AS counted USING (entry)
    )
    SELECT
        entered.source,
        'predictions of a classifier' AS what,
        (classified - least(
            coalesce(given_up.number, 0), greatest(0, entered.old - coalesce(came.number, 0))
        ))::bigint AS expected,
        coalesce(came.number, 0)::bigint AS found,
        entered.old - coalesce(given_up.number, 0) > coalesce(came.number, 0)
            OR classified < coalesce(came.old, 0) AS is_wrong
    FROM entered LEFT JOIN came USING (source) LEFT JOIN given_up USING (source)
    UNION ALL
    SELECT
        source,
        'dead letters of a classifier',
        sum(expected)::bigint,
        sum(found)::bigint,
        bool_or(is_old AND expected <> found)
    FROM letters
    GROUP BY source
    ORDER BY 1, 2
""")
_WHILE: Final = timedelta(minutes=10)
_GAPS: Final = text("""
    SELECT ledger.source, partition, first, next
    FROM ledger JOIN runs USING (run_id)
    WHERE kind = 'accept-gap'
    ORDER BY ledger.source, partition, first
""")
# Nothing leaves by two doors.
_TWICE: Final = text("""
    SELECT source, partition, 0, count(*)
    FROM dead_letters
    CROSS JOIN LATERAL (
        SELECT entry
        FROM ledger
        WHERE ledger.source = dead_letters.source
            AND ledger.partition = concat_ws('#', dead_letters.partition, books)
            AND first <= dead_letters.position
            AND import_run IS NULL
        ORDER BY first DESC
        LIMIT 1
    ) AS origin
    JOIN transactions USING (entry, position)
    GROUP BY source, partition
    ORDER BY source, partition
""")
_OF_PARTITIONS: Final = {
    "the position, and how it ended": _POSITIONS,
    "where the first range begins": _BEGINS,
    "dead letters": _LETTERS,
    "dead letters at the position of a transaction": _TWICE,
}
"""What is held against each partition: what should be there, and what is."""


@translated()
def reconcile(engine: Engine) -> Report:
    """Proves the books from the tables alone, as they are at one moment.

    By source, partition and run: the ranges are contiguous, in files from 0 on, and nothing
    follows what is finished; each entry has read = classified + rejected + duplicate; there are as
    many transactions as were classified, each at a position of its own in its range, with a
    prediction of the same entry, and as many need review as the entry says. Each position is where
    the last range ends, and the first range of a topic's partition begins where that was entered
    before it was read. Each transaction has its entry, each prediction its transaction. The
    rejects of each partition are its dead letters, those of an import the imported ones, none at
    the position of a transaction. By redrive: what it classified or knew are the letters that it
    closed, each transaction the one of a closed letter; what it rejected is noted as failed, and
    the attempts of letters are these failures. A rescore has as many predictions as it classified,
    and neither transactions nor letters. Of what a classifier has put on topics, as many
    predictions were read as its ledger says, and as many letters copied of each range; what its
    ledger says here for less than ten minutes may be on the way. What rows say (amounts,
    categories) is not looked at.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.begin() as connection, unlimited(connection):
        connection.execute(text("SET TRANSACTION READ ONLY"))
        entries, *sums, redriven, imported, rescored, delivered = connection.execute(_TOTAL).one()
        published = connection.execute(_PUBLISHED, {"while": _WHILE}).all()
        differences = (
            *_rows(connection),
            *_orphans(connection),
            *_partitions(connection),
            *_redriven(connection),
            *(
                Difference(
                    what=each.what, expected=each.expected, found=each.found, source=each.source
                )
                for each in published
                if each.is_wrong
            ),
        )
        unfinished = tuple(Unfinished(*row) for row in connection.execute(_UNFINISHED))
        gaps = tuple(Gap(*row) for row in connection.execute(_GAPS))
        tally = Tally(*sums)
        of = redriven, imported, rescored, delivered
        on_the_way = tuple(
            OnTheWay(each.source, each.what, each.expected, each.found)
            for each in published
            if each.expected != each.found and not each.is_wrong
        )
        return Report(entries, tally, *of, differences, unfinished, gaps, on_the_way)


def _rows(connection: Connection) -> list[Difference]:
    found: list[Difference] = []
    for row in connection.execute(_ROWS):
        compared = {
            "ranges that do not begin where the one before ends": (0, row.misplaced),
            "ranges with other than read = classified + rejected + duplicate": (0, row.unbalanced),
        }
        if not row.is_published:
            compared |= {
                "ranges with transactions from outside": (0, row.outside),
                "transactions at a position that another one has": (0, row.doubled),
                "transactions": (0 if is_rescore(row.source) else row.classified, row.transactions),
                "transactions with a prediction": (row.classified, row.predicted),
                "predictions that need review": (row.needs_review, row.reviewed),
            }
        found += [
            Difference(
                what=what,
                expected=expected,
                found=number,
                source=row.source,
                partition=row.partition,
                run_id=row.run_id,
            )
            for what, (expected, number) in compared.items()
            if expected != number
        ]
    return found


def _orphans(connection: Connection) -> list[Difference]:
    return [
        Difference(what=what, expected=0, found=count, run_id=run_id)
        for what, query in _ORPHANS.items()
        for run_id, count in connection.execute(query)
    ]


def _partitions(connection: Connection) -> list[Difference]:
    return [
        Difference(what=what, expected=expected, found=found, source=source, partition=partition)
        for what, query in _OF_PARTITIONS.items()
        for source, partition, expected, found in connection.execute(query)
    ]


def _redriven(connection: Connection) -> list[Difference]:
    found: list[Difference] = []
    for row in connection.execute(_REDRIVEN):
        compared = {
            "dead letters that a redrive closed": (row.succeeded, row.closed),
            "dead letters noted as closed": (row.succeeded, row.closings),
            "dead letters noted as failed again": (row.failed, row.failures),
        }
        found += [
            Difference(
                what=what, expected=expected, found=number, source="redrive", run_id=row.run_id
            )
            for what, (expected, number) in compared.items()
            if expected != number
        ]
    found += [
        Difference(
            what="transactions of a redrive without a closed dead letter",
            expected=0,
            found=number,
            source="redrive",
            run_id=run_id,
        )
        for run_id, number in connection.execute(_STRAY)
    ]
    lives = connection.execute(_LIVES).one()
    compared = {
        "further attempts of dead letters": (lives.failures, lives.attempts),
        "discarded dead letters": (lives.discardings, lives.discarded),
    }
    found += [
        Difference(what=what, expected=expected, found=int(number))
        for what, (expected, number) in compared.items()
        if expected != number
    ]
    return found
