"""Corrections, added to what people have said before; nothing is changed or deleted."""

import re
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import polars as pl
from sqlalchemy import Connection, Engine, func, insert, select, text

from assay.domain.errors import DATA, Fatal
from assay.wire.corrections import CORRECTIONS
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import corrections

_LOCK: Final = 0x636F7272656374  # a number that no other program locks

_WORDS: Final = re.compile(r"[^\W_]+")

# A group that needs review is found by its index; others by a look at every prediction.
_EXAMPLES: Final = {
    "soon": text("""
        SELECT DISTINCT ON (said.feature_hash)
            said.feature_hash, transaction_id AS example, category AS predicted, description,
            merchant
        FROM predictions AS said
        JOIN transactions USING (number)
        WHERE said.feature_hash = ANY(:groups) AND needs_review
        ORDER BY said.feature_hash, said.entry DESC, transaction_id
    """),
    "late": text("""
        SELECT DISTINCT ON (said.feature_hash)
            said.feature_hash, transaction_id AS example, category AS predicted, description,
            merchant
        FROM predictions AS said
        JOIN transactions USING (number)
        WHERE said.feature_hash = ANY(:groups)
        ORDER BY said.feature_hash, said.entry DESC, transaction_id
    """),
}
_STANDING: Final = text("""
    SELECT DISTINCT ON (feature_hash) feature_hash, example, description, merchant, category
    FROM corrections
    WHERE feature_hash = ANY(:groups)
    ORDER BY feature_hash, id DESC
""")
_ALIKE: Final = text("""
    SELECT example, feature_hash FROM corrections
    WHERE example = ANY(:examples) AND feature_hash IS NOT NULL
    UNION
    SELECT transaction_id, feature_hash FROM transactions JOIN predictions USING (number)
    WHERE transaction_id = ANY(:examples) AND feature_hash IS NOT NULL
    ORDER BY feature_hash
""")
_ALONE: Final = text("""
    SELECT
        description, merchant, own.category AS own,
        coalesce(own.category, alike.category, said.category) AS standing
    FROM transactions
    JOIN predictions AS said USING (number)
    LEFT JOIN corrected_transactions AS own ON own.transaction_id = transactions.transaction_id
    LEFT JOIN corrected_descriptors AS alike ON alike.feature_hash = said.feature_hash
    WHERE transactions.transaction_id = :transaction_id AND said.feature_hash = :group
    ORDER BY said.entry DESC
    LIMIT 1
""")
_FOLLOW: Final = text("""
    INSERT INTO corrections
        (feature_hash, example, description, merchant, previous, category, by, reason, at)
    SELECT DISTINCT ON (said.feature_hash)
        said.feature_hash, held.example, held.description, held.merchant, said.category,
        held.category, held.by, held.reason, held.at
    FROM corrections AS held
    JOIN transactions ON transactions.transaction_id = held.example
    JOIN predictions AS said USING (number)
    WHERE held.feature_hash IS NOT NULL AND held.category IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM corrections AS later
            WHERE later.feature_hash = held.feature_hash AND later.id > held.id
        )
        AND said.feature_hash IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM corrections AS known WHERE known.feature_hash = said.feature_hash
        )
    ORDER BY said.feature_hash, held.id DESC
""")
_HELD: Final = text("""
    SELECT description, merchant, category, at
    FROM (
        SELECT DISTINCT ON (example) description, merchant, category, at
        FROM corrections
        WHERE feature_hash IS NOT NULL
        ORDER BY example, id DESC
    ) AS latest
    WHERE category IS NOT NULL
""")


class NoSuchGroup(Fatal):
    """There is no such group, or a transaction is not of it."""

    exit_code = DATA


class Wordless(Fatal):
    """A group of descriptors without a word cannot be corrected as one."""

    exit_code = DATA


class Said(NamedTuple):
    """What somebody says of a group.

    Attributes:
        category: the right one; None withdraws what was said before.
        reason: in their own words.
    """

    category: str | None
    reason: str | None = None


@translated()
def correct_groups(engine: Engine, said: Mapping[str, Said], *, by: str) -> int:
    """Notes what somebody says of groups, all at once or nothing.

    What stands so already is not noted again. What is said of a group holds under all names that
    versions of the model give its example.

    Args:
        engine: from `engine_for`.
        said: by the groups' names, whole.
        by: who.

    Returns:
        Of how many something new was noted.

    Raises:
        Unavailable: PostgreSQL is away.
        NoSuchGroup: names those that are not there.
        Wordless: names those whose descriptors have no word: they are alike only in that.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        _alone(connection)
        _follow(connection)
        examples = _examples(connection, said)
        if missing := sorted(said.keys() - examples.keys()):
            raise NoSuchGroup(f"there is no group {', '.join(missing)}")
        standing = _by_group(connection.execute(_STANDING, {"groups": list(said)}).mappings())
        new = dict[str, dict[str, Any]]()  # what is noted, by group
        for group, (category, reason) in said.items():
            example, held = examples[group], standing.get(group)
            before = held and held["category"]
            if category == before:
                continue
            new[group] = {
                name: (held or example)[name] for name in ("example", "description", "merchant")
            } | {
                "previous": before or example["predicted"],
                "category": category,
                "reason": reason,
                "by": by,
            }
        if wordless := sorted(group for group, row in new.items() if _is_wordless(row)):
            raise Wordless(
                f"there is no word in what is in the group {', '.join(wordless)}, so that its "
                "transactions need not be alike: say of single ones what they are "
                "(`assay review correct GROUP CATEGORY --transaction ID`)"
            )
        if new:
            alike = _alike(connection, {each["example"] for each in new.values()})
            rows = [
                {**each, "feature_hash": name}
                for group, each in new.items()
                for name in {group: None} | dict.fromkeys(alike.get(each["example"], ()))
            ]
            connection.execute(insert(corrections), rows)
        return len(new)


@translated()
def correct_transaction(
    engine: Engine, transaction_id: str, group: str, said: Said, *, by: str
) -> bool:
    """Notes what somebody says of one transaction, which goes before what is said of its group.

    Args:
        engine: from `engine_for`.
        transaction_id: which.
        group: that it is of, as a proof that it is the one that is meant.
        said: what.
        by: who.

    Returns:
        Whether it is something new.

    Raises:
        Unavailable: PostgreSQL is away.
        NoSuchGroup: there is no such transaction in the group.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        _alone(connection)
        asked = {"transaction_id": transaction_id, "group": group}
        found = connection.execute(_ALONE, asked).mappings().one_or_none()
        if found is None:
            raise NoSuchGroup(f"there is no transaction {transaction_id} in the group {group}")
        if said.category == found["own"]:
            return False
        connection.execute(
            insert(corrections).values(
                transaction_id=transaction_id,
                example=transaction_id,
                description=found["description"],
                merchant=found["merchant"],
                previous=found["standing"],
                category=said.category,
                reason=said.reason,
                by=by,
            )
        )
        return True


@translated()
def follow(engine: Engine) -> None:
    """Lets corrections hold under the names that newer versions of a model give their examples.

    `assay rescore` does so at its end; every correction does as well.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        _alone(connection)
        _follow(connection)


@contextmanager
def held(engine: Engine) -> Generator[pl.DataFrame]:
    """The corrections of groups that hold, shaped as `CORRECTIONS`, one for each example.

    Nobody adds to them while the block lasts.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with translated():
        connection = engine.connect()
    with connection:
        with translated():
            transaction = connection.begin()
            _alone(connection)
            rows = connection.execute(_HELD).all()
        yield pl.DataFrame(rows, schema=CORRECTIONS, orient="row")
        with translated():
            transaction.commit()


def _alone(connection: Connection) -> None:
    """Waits until nobody else adds corrections in a transaction of theirs."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _follow(connection: Connection) -> None:
    connection.execute(_FOLLOW)


def _examples(connection: Connection, groups: Collection[str]) -> dict[str, dict[str, Any]]:
    found = dict[str, dict[str, Any]]()
    for query in _EXAMPLES.values():
        if missing := [each for each in groups if each not in found]:
            found |= _by_group(connection.execute(query, {"groups": missing}).mappings())
    return found


def _is_wordless(said: Mapping[str, Any]) -> bool:
    """Whether a group is corrected whose descriptors have nothing but numbers and signs.

    A word in which letters stand between digits is a number to the model.
    """
    if said["category"] is None:
        return False
    for word in _WORDS.findall(f"{said['description']} {said['merchant'] or ''}"):
        digits = [at for at, character in enumerate(word) if character.isdigit()]
        between = word[digits[0] : digits[-1]] if digits else ""
        if any(map(str.isalpha, word)) and not any(map(str.isalpha, between)):
            return False
    return True


def _alike(connection: Connection, examples: Collection[str]) -> dict[str, list[str]]:
    """All groups that each of these transactions is in, by the transaction."""
    found = dict[str, list[str]]()
    rows = connection.execute(_ALIKE, {"examples": list(examples)})
    for example, group in rows:
        found.setdefault(example, []).append(group)
    return found


def _by_group(rows: Iterable[Mapping[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {row["feature_hash"]: dict(row) for row in rows}
