"""How datasets are named."""

import pytest

from assay_adapters.openlineage.job import tables_at, topic_at


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("postgresql://user:secret@db.example:6543/books", "db.example:6543"),
        ("postgresql://user@db.example/books?sslmode=require", "db.example:5432"),
        ("postgresql://first:1,second:2/books", "first:1"),
    ],
)
def test_a_table_is_named_by_server_and_database(url: str, server: str) -> None:
    """Without user and password; of several servers that stand in, by the first."""
    expected = (f"postgres://{server}", "books.public.transactions")
    assert tables_at(url, "transactions") == [expected]


def test_a_topic_is_named_by_its_first_broker() -> None:
    """As a catalog cannot know that several addresses are one cluster."""
    assert topic_at("one:9092, two:9092", "transactions") == ("kafka://one:9092", "transactions")
