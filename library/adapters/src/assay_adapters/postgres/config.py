"""What must be known to reach PostgreSQL."""

from typing import Annotated, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

_LONGEST: Final = (2**31 - 1) // 1000
"""Seconds; PostgreSQL counts milliseconds in 32 bits."""

Seconds = Annotated[float, Field(ge=0.001, le=_LONGEST)]


def _is_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        known = text.startswith(("postgresql://", "postgres://")) and conninfo_to_dict(text)
    except psycopg.Error:
        known = False  # What was wrong may stand inside the password.
    if not known:
        raise ValueError("no URL of the form postgresql://user:password@host:port/name")
    if not str(known.get("connect_timeout", 0)).isdecimal():  # libpq would say so much later
        raise ValueError("connect_timeout is no number of seconds")
    return url


class PostgresConfig(BaseModel):
    """How PostgreSQL is reached. Times are seconds.

    Attributes:
        url: `postgresql://user:password@host:port/name` as libpq reads it, its parameters
            (`?sslmode=…`), which go before these settings, and several hosts included. The
            database's encoding must be UTF8.
        password: in place of the URL's; no character of it needs escaping.
        application_name: what PostgreSQL shows in `pg_stat_activity`.
        connect_timeout: until a server that does not answer counts as away, and until a caller
            who finds all connections in use gives up.
        statement_timeout: until the server gives up one statement; a commit has several. One that
            hangs is waited for a few seconds longer.
        lock_timeout: until the server gives up waiting for another commit.
        silence: until the server gives up on a client that has fallen silent in the middle of a
            commit (frozen, or cut off), and frees what others wait for.
        pool_size: connections at the same time, at most.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    url: Annotated[SecretStr, AfterValidator(_is_url)]
    password: SecretStr | None = None
    application_name: str = "assay"
    connect_timeout: int = Field(default=5, ge=1, le=_LONGEST)
    statement_timeout: Seconds = 300
    lock_timeout: Seconds = 60
    silence: Seconds = 30
    pool_size: int = Field(default=5, ge=1)
