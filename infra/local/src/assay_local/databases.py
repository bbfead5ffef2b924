"""Databases of their own for tests, on any PostgreSQL whose role may create them."""

from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


def create(url: str, name: str, *, template: str = "template0") -> str:
    """Creates a database beside the one of the URL, as a copy of a template; returns its URL.

    Nobody may be connected to the template meanwhile.
    """
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _execute(url, statement.format(sql.Identifier(name), sql.Identifier(template)))
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop(url: str, name: str) -> None:
    """Drops a database beside the one of the URL, if it exists, with all connections to it."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    _execute(url, statement.format(sql.Identifier(name)))


def _execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
