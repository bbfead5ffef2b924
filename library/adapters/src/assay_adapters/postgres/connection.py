"""Connections to PostgreSQL, and its errors as those of the core."""

import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine, exc, text

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay_adapters.postgres.config import PostgresConfig

# https://www.postgresql.org/docs/current/errcodes-appendix.html, by class or whole code.
_AWAY: Final = (
    "08",  # connection exceptions
    "25006",  # read-only: the primary has moved
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction took too long
    "40",  # deadlock, serialisation
    "53",  # out of memory, disk or connections
    "55P03",  # lock timeout
    "57014",  # statement timeout
    "57P01",  # shutdown by an administrator
    "57P02",  # shutdown after a crash
    "57P03",  # starting up
    "57P05",  # idle for too long
    "58",  # input/output errors
)
_MIGRATE: Final = "the tables are missing or of another version: run `assay migrate`"
_DENIED: Final = "the role may not do this: GRANT it the rights, or name another role"
_MENDABLE: Final = {
    "28": "the login was refused: check user and password in ASSAY_POSTGRES__URL",
    "3D000": "there is no such database: create it, or check ASSAY_POSTGRES__URL",
    "3F000": _MIGRATE,
    "42501": _DENIED,
    "42703": _MIGRATE,
    "42P01": _MIGRATE,
}
# While a connection is made, libpq passes on the server's words and no code. Whole phrases count,
# since "too many connections" names a role or a database too; whatever else is said is an outage.
_REFUSED_LOGIN: Final = {
    r'authentication failed for user "': "28",
    r"no password supplied": "28",
    r"no pg_hba\.conf entry for |pg_hba\.conf rejects ": "28",
    r'FATAL:  role ".*" (does not exist|is not permitted to log in)': "28",
    r'FATAL:  permission denied for database "': "42501",
    r'FATAL:  database ".*" does not exist': "3D000",
}

# What libpq and the server say of parameters that cannot be used. psycopg says "connection is
# bad" where libpq did not get as far as trying.
_WRONG_PARAMETER: Final = re.compile(
    r"^connection is bad: (?!connection to server )"
    r"|invalid integer value "
    r"|but SSL was required|SSL not in use|channel binding is required"
    r"|authentication method requirement "
    r"|requires a valid client certificate|alert ((bad |unsupported )?certificate|unknown ca)"
    r"|certificate verify failed|does not match host name|certificate file |private key file "
    r"|FATAL:  (invalid value for parameter |unrecognized configuration parameter "
    r"|invalid command-line argument|parameter .* cannot be |permission denied to set parameter )"
)

_RELIED_ON: Final = {"timezone": "UTC", "datestyle": "ISO"}
_SILENCE: Final = 5.0  # seconds without a word of the server
# As libpq hands on what a server says, in whatever language: severity, colon, two spaces. What it
# says itself, as of a connection that is refused or closed without a word, has one space.
_SAID_BY_THE_SERVER: Final = re.compile(r": [^:\n]+:  ")
_Answer = TypeVar("_Answer")


class _Attentive(psycopg.Connection[Any]):
    """A connection that tells a server which works for long from one that is frozen.

    The limits of statements are the server's own and those of TCP are kept by its kernel, so that
    nothing ends the wait for a server that hangs (SIGSTOP, a disk that answers no more). Whoever
    waits long asks whether it still lets anybody in, and breaks off if it does not. Where somebody
    else lets in (a pooler, the server whose one process hangs), the wait ends a moment after the
    server itself would have given the statement up.

    Attributes:
        longest: seconds that an answer is waited for in any case; None for no limit.
    """

    longest: float | None = None

    def wait(
        self, gen: PQGen[_Answer], interval: float = 0.1, timeout: float | None = None
    ) -> _Answer:
        """As psycopg has it, but that the answer of a server that hangs is not waited for."""
        return super().wait(self._attentive(gen), interval, timeout)

    def _attentive(self, gen: PQGen[_Answer]) -> PQGen[_Answer]:
        heard = asked = time.monotonic()
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                now = time.monotonic()
                if ready:
                    heard = asked = now
                elif self.longest is not None and now > heard + self.longest:
                    self._break_off("the server is silent beyond the limit of a statement")
                elif now > asked + _SILENCE:
                    if not self._lets_in():
                        self._break_off("the server is silent and lets nobody in")
                    asked = time.monotonic()
                awaited = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _break_off(self, why: str) -> NoReturn:
        self.pgconn.finish()
        raise psycopg.OperationalError(why)

    def _lets_in(self) -> bool:
        """Whether the server answers, if only to refuse."""
        try:
            psycopg.connect(self.info.dsn, password=self.info.password).close()
        except psycopg.Error as error:
            return _SAID_BY_THE_SERVER.search(str(error)) is not None
        return True


def engine_for(config: PostgresConfig) -> Engine:
    """A pool of connections, made when they are needed; one that has died is replaced in silence.

    What the URL says goes before the other settings, but for what everything here relies on: the
    client's encoding, UTC, and dates as ISO 8601 has them.

    Safe to use from several threads. Whoever made it ends it with `dispose()`.
    """
    given = conninfo_to_dict(config.url.get_secret_value())
    if config.password is not None:
        given["password"] = config.password.get_secret_value()
    limits = {
        "statement_timeout": f"{config.statement_timeout * 1000:.0f}",
        "lock_timeout": f"{config.lock_timeout * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{config.silence * 1000:.0f}",
        # The server's own look for clients that are gone takes two hours unless it is told.
        "tcp_keepalives_idle": "20",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "4",
    }
    # The last one counts.
    options = (_options(limits), given.get("options"), _options(_RELIED_ON))
    parameters = {
        "application_name": config.application_name,
        "connect_timeout": config.connect_timeout,
        # A network that swallows packets is noticed within a minute.
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 4,
        "tcp_user_timeout": 60_000,
        **given,
        "options": " ".join(str(each) for each in options if each),
        "client_encoding": "UTF8",
    }
    # A parameter's type depends on its name, so that only `conninfo` takes them all.
    conninfo = make_conninfo("", **parameters)
    # What the URL has for a limit the server knows: it may be none.
    is_known = re.search("statement.timeout", str(given.get("options")), re.IGNORECASE) is None

    def connect() -> _Attentive:
        connection = _Attentive.connect(conninfo)
        connection.longest = config.statement_timeout + _SILENCE if is_known else None
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=config.pool_size,
        max_overflow=0,
        pool_timeout=config.connect_timeout,
        pool_pre_ping=True,
        # What a commit relies on: each statement sees what others have committed before it.
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )


def _options(values: Mapping[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in values.items())


@contextmanager
def unlimited(connection: Connection) -> Generator[None]:
    """Statements of the transaction that has begun may take as long as they take.

    Args:
        connection: of an engine of `engine_for`.
    """
    driver = cast("_Attentive", connection.connection.driver_connection)
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    limit, driver.longest = driver.longest, None
    try:
        yield
    finally:
        driver.longest = limit


@contextmanager
def translated() -> Generator[None]:
    """Errors of PostgreSQL inside this block leave it as `Unavailable` or `Fatal`.

    The original is cut off: its message and details hold values.
    """
    try:
        yield
    except exc.TimeoutError:
        raise Unavailable("all connections to PostgreSQL are in use") from None
    except exc.DBAPIError as error:
        raise _translate(error.orig) from None
    except psycopg.Error as error:
        raise _translate(error) from None


def _translate(error: BaseException | None) -> AssayError:
    kind = type(error).__name__
    code = error.sqlstate if isinstance(error, psycopg.Error) else None
    if code is None and isinstance(error, psycopg.OperationalError):
        if _WRONG_PARAMETER.search(str(error)):
            return _of_parameter(str(error))
        kind = " ".join(str(error).split())  # of libpq or of the login, where there are no values
        known = (code for words, code in _REFUSED_LOGIN.items() if re.search(words, str(error)))
        code = next(known, "08")
    if code is None:
        return Fatal(f"PostgreSQL cannot be used like this ({kind})")
    if code.startswith(_AWAY):
        return Unavailable(f"PostgreSQL is away ({code}: {kind})")
    for mendable, advice in _MENDABLE.items():
        if code.startswith(mendable):
            return Fatal(f"PostgreSQL ({code}): {advice}")
    names = _names(error)
    return Fatal(f"PostgreSQL refused a statement ({code}: {kind}{names}); its log says more")


def _of_parameter(words: str) -> Fatal:
    """What is wrong in the URL, without values: a bad port may be the end of a password."""
    said = words.partition("\n")[0].removeprefix("connection is bad: ")
    said = re.sub(r"^.*?(port \d+|socket .*) failed: (FATAL:  )?", "", said)
    said = re.sub(r'(:|(?<=value)|(?<=address)) "[^"]*"', "", said)
    return Fatal(f"PostgreSQL cannot be reached like this: {said}: check ASSAY_POSTGRES__URL")


def _names(error: BaseException | None) -> str:
    """Table, column and constraint that an error is about."""
    if not isinstance(error, psycopg.Error):
        return ""
    about = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    return "".join(f", {name}" for name in about if name)
