"""PostgreSQL away, in the way, or set up wrongly: nothing is lost, doubled or told to others."""

import itertools
import select
import socket
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import polars as pl
import psutil
import psycopg
import pytest
from arro3.core import RecordBatch
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection, Engine, text

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.position import Position
from assay.domain.tally import Tally
from assay.testing.frames import outcome, transaction
from assay_adapters.postgres import connection as connections
from assay_adapters.postgres import copy as copying
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for, translated, unlimited
from assay_adapters.postgres.rights import require_rights
from assay_adapters.postgres.store import PostgresStore
from assay_local import Local


def _store(engine: Engine) -> PostgresStore:
    return PostgresStore(engine, processing_type="batch")


@contextmanager
def _using(config: PostgresConfig, **changes: object) -> Generator[PostgresStore]:
    engine = engine_for(config.model_copy(update=changes))
    yield _store(engine)
    engine.dispose()


def _elsewhere(config: PostgresConfig, **parts: str) -> SecretStr:
    """The URL of the same server with another user, password, port or database."""
    url = urlsplit(config.url.get_secret_value())
    user, password = parts.get("user", url.username), parts.get("password", url.password)
    netloc = f"{user}:{password}@{url.hostname}:{parts.get('port', url.port)}"
    return SecretStr(
        urlunsplit(url._replace(netloc=netloc, path=f"/{parts.get('database', url.path[1:])}"))
    )


def _blocked(engine: Engine, table: str) -> None:
    """Returns once somebody waits for a lock on a table."""
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST(:name AS regclass)"
    )
    with engine.connect() as connection:
        while not connection.scalar(waiting, {"name": table}):
            connection.rollback()


# ------------------------------------------------------------ away


def test_a_frozen_server_is_away(
    local: Local, migrated: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel takes what is sent and nobody answers: the wait ends, at any time of a commit."""
    monkeypatch.setattr(connections, "_SILENCE", 0.3)
    engine = engine_for(migrated.model_copy(update={"connect_timeout": 1}))
    store = _store(engine)
    store.commit(outcome(["a"]))
    with engine.connect() as asking:
        asking.execute(text("SELECT 1"))
        local.postgres.pause()
        try:
            with pytest.raises(Unavailable, match="silent"), translated():
                asking.execute(text("SELECT 1"))
            with pytest.raises(Unavailable):
                store.commit(outcome(["b"], first=1))
        finally:
            local.postgres.resume()
    assert store.commit(outcome(["b"], first=1)) == Tally(read=1, classified=1)
    engine.dispose()


def test_a_server_that_freezes_while_rows_are_copied_is_away(
    local: Local, migrated: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told why, and not that what is under way there can be ended no more."""
    monkeypatch.setattr(connections, "_SILENCE", 0.3)
    batches = copying.batches

    def freeze(rows: pl.DataFrame) -> list[RecordBatch]:
        local.postgres.pause()
        return batches(rows)

    monkeypatch.setattr(copying, "batches", freeze)
    with _using(migrated, connect_timeout=1) as store:
        try:
            with pytest.raises(Unavailable, match="lets nobody in"):
                store.commit(outcome(["a"]))
        finally:
            local.postgres.resume()
        monkeypatch.undo()
        assert store.commit(outcome(["a"])) == Tally(read=1, classified=1)


@contextmanager
def _process_frozen(connection: Connection) -> Generator[None]:
    """That of the server which serves this connection."""
    process = psutil.Process(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_a_process_of_the_server_that_is_frozen_alone_is_away(
    config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are let in: the wait ends when the server itself would have ended the statement."""
    monkeypatch.setattr(connections, "_SILENCE", 0.2)
    engine = engine_for(config.model_copy(update={"statement_timeout": 0.5}))
    with engine.connect() as asking, _process_frozen(asking):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="silent beyond the limit"), translated():
            asking.execute(text("SELECT 1"))
        assert 0.6 < time.monotonic() - began < 5
    engine.dispose()


@contextmanager
def _closing_what_is_new(url: SecretStr) -> Generator[SecretStr]:
    """A proxy that lets one connection through, and closes all others without a word."""
    target = urlsplit(url.get_secret_value())

    def serve() -> None:
        with suppress(OSError):  # The listener is closed at the end.
            client = listener.accept()[0]
            server = socket.create_connection((str(target.hostname), int(target.port or 0)))
            pool.submit(_forward, client, server, itertools.repeat(object=True))
            while True:
                listener.accept()[0].close()

    with ThreadPoolExecutor() as pool:
        listener = socket.create_server(("127.0.0.1", 0))
        pool.submit(serve)
        try:
            yield _elsewhere(PostgresConfig(url=url), port=str(listener.getsockname()[1]))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def test_a_frozen_server_behind_somebody_who_closes_connections_is_away(
    config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ends without a word of the server is no sign of its life."""
    monkeypatch.setattr(connections, "_SILENCE", 0.2)
    with _closing_what_is_new(config.url) as url:
        engine = engine_for(config.model_copy(update={"url": url}))
        with engine.connect() as asking, _process_frozen(asking):
            with pytest.raises(Unavailable, match="lets nobody in"), translated():
                asking.execute(text("SELECT 1"))
            asking.invalidate()
        engine.dispose()


@pytest.mark.parametrize("limit", [-1, 1], ids=["lets in", "refuses"])
def test_a_server_that_works_for_long_is_not_away(
    stranger: PostgresConfig, engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Somebody who waits longer than for a silence asks, and goes on waiting."""
    monkeypatch.setattr(connections, "_SILENCE", 0.2)
    role = urlsplit(stranger.url.get_secret_value()).username
    _alter(engine, "ROLE", role, f"CONNECTION LIMIT {limit}")
    working = engine_for(stranger)
    with working.connect() as asking:
        assert asking.scalar(text("SELECT 1 FROM pg_sleep(0.7)")) == 1
    working.dispose()


def test_what_has_no_limit_at_the_server_has_none_here(
    config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one transaction, or as the URL has it; the next transaction is limited again."""
    monkeypatch.setattr(connections, "_SILENCE", 0.2)
    slow = text("SELECT 1 FROM pg_sleep(1)")
    brief = config.model_copy(update={"statement_timeout": 0.2})
    engine = engine_for(brief)
    with engine.connect() as asking:
        with asking.begin(), unlimited(asking):
            assert asking.scalar(slow) == 1
        with _process_frozen(asking), pytest.raises(Unavailable, match="beyond"), translated():
            asking.execute(slow)
    engine.dispose()
    url = SecretStr(f"{config.url.get_secret_value()}?options=-cstatement_timeout%3D0")
    engine = engine_for(brief.model_copy(update={"url": url}))
    with engine.connect() as asking:
        assert asking.scalar(slow) == 1
    engine.dispose()


def test_a_server_killed_in_mid_commit_keeps_nothing_of_it(
    local: Local, engine: Engine, make_engine: Callable[[], Engine]
) -> None:
    """The commit is Unavailable; repeated on the restarted server it counts once."""
    store = _store(engine)
    store.commit(outcome(["a"]))
    given = outcome(["a", "b"], first=1, rejected=["x"])
    with ThreadPoolExecutor(1) as pool, make_engine().connect() as other:
        # The rows have been copied when the commit comes to the ledger.
        other.execute(text("LOCK TABLE ledger IN EXCLUSIVE MODE"))
        commit = pool.submit(store.commit, given)
        _blocked(make_engine(), "ledger")
        local.postgres.kill()
        other.invalidate()
        with pytest.raises(Unavailable):
            commit.result()
    with pytest.raises(Unavailable):
        store.commit(given)
    local.postgres.start()
    assert store.positions("files", ["transactions/0"]) == {"transactions/0": Position(1)}
    expected = Tally(read=3, classified=1, rejected=1, duplicate=1)
    assert store.commit(given) == expected
    assert store.commit(given) == expected
    assert store.recent("files", None, 3) == expected


def _forward(client: socket.socket, server: socket.socket, answers: Iterator[bool]) -> None:
    """Between the two until one of them ends, or an answer to COMMIT is not to be given."""
    with client, server:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                (server if source is client else client).sendall(data)
                if source is client and b"COMMIT\0" in data and not next(answers):
                    server.recv(1)  # It has committed.
                    return


@contextmanager
def _losing_the_first_answer(url: SecretStr) -> Generator[SecretStr]:
    """A proxy that ends the connection where the server answers to the first COMMIT."""
    target = urlsplit(url.get_secret_value())
    address = (str(target.hostname), int(target.port or 0))
    answers = itertools.chain([False], itertools.repeat(object=True))

    def serve() -> None:
        with suppress(OSError):  # The listener is closed at the end.
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(address)
                pool.submit(_forward, client, server, answers)

    with ThreadPoolExecutor() as pool:
        listener = socket.create_server(("127.0.0.1", 0))
        pool.submit(serve)
        login = f"{target.username}:{target.password}"
        netloc = f"{login}@127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield SecretStr(urlunsplit(target._replace(netloc=netloc)))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def test_a_commit_whose_answer_is_lost_counts_once(
    migrated: PostgresConfig, engine: Engine
) -> None:
    """It is Unavailable, though it stands; repeated it gives the stored tally."""
    given = outcome(["a", "b"], rejected=["x"])
    expected = Tally(read=3, classified=2, rejected=1)
    with (
        _losing_the_first_answer(migrated.url) as url,
        _using(migrated, url=url) as store,
    ):
        with pytest.raises(Unavailable):
            store.commit(given)
        assert _store(engine).recent("files", None, 10) == expected
        assert store.commit(given) == expected
    assert _store(engine).recent("files", None, 10) == expected


def test_a_restarted_server_is_not_noticed(local: Local, engine: Engine) -> None:
    """Connections that died in the pool are replaced before they are used."""
    store = _store(engine)
    with engine.connect(), engine.connect(), engine.connect():
        pass  # Now there are three in the pool.
    local.postgres.restart()
    assert store.commit(outcome(["a"])) == Tally(read=1, classified=1)


def test_a_server_that_is_not_there_is_unavailable(migrated: PostgresConfig) -> None:
    """Nobody listens at that port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    with (
        _using(migrated, url=_elsewhere(migrated, port=port)) as store,
        pytest.raises(Unavailable, match="PostgreSQL is away"),
    ):
        store.commit(outcome(["a"]))


def test_a_server_that_does_not_answer_is_unavailable(migrated: PostgresConfig) -> None:
    """After `connect_timeout`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = _elsewhere(migrated, port=str(silent.getsockname()[1]))
        with (
            _using(migrated, url=url, connect_timeout=1) as store,
            pytest.raises(Unavailable, match="PostgreSQL is away"),
        ):
            store.commit(outcome(["a"]))


def test_a_commit_waits_for_another_so_long_and_no_longer(
    migrated: PostgresConfig, engine: Engine
) -> None:
    """Then it is Unavailable, and passes once the other has ended."""
    with _using(migrated, lock_timeout=0.2) as store:
        with engine.begin() as other:
            other.execute(text("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(Unavailable):
                store.commit(outcome(["a"]))
        assert store.commit(outcome(["a"])) == Tally(read=1, classified=1)


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1", 'COPY "runs" ("run_id") FROM STDIN (FORMAT csv)'],
    ids=["between statements", "while it copies"],
)
def test_who_freezes_in_mid_commit_holds_others_up_for_a_moment(
    migrated: PostgresConfig, statement: str
) -> None:
    """The server ends a transaction whose client has fallen silent, and the next owner goes on."""
    brief = migrated.model_copy(update={"silence": 0.3, "lock_timeout": 0.5})
    frozen = engine_for(brief)
    with frozen.connect() as connection, _using(brief) as store:
        connection.execute(
            text(
                "INSERT INTO positions (source, partition, next, run_id)"
                " VALUES ('files', 'transactions/0', 1, 'frozen')"
            )
        )
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.pgconn.send_query(statement.encode())
        for _ in range(3):
            with suppress(Unavailable):
                assert store.commit(outcome(["a"])) == Tally(read=1, classified=1)
                break
        else:
            pytest.fail("still held up")
        connection.invalidate()
    frozen.dispose()


def test_a_pool_in_use_is_unavailable(migrated: PostgresConfig) -> None:
    """A caller who finds no connection gives up after `connect_timeout`."""
    engine = engine_for(migrated.model_copy(update={"pool_size": 1, "connect_timeout": 1}))
    with engine.connect(), pytest.raises(Unavailable, match="in use"):
        _store(engine).positions("files", ["a"])
    engine.dispose()


def test_two_commits_of_the_same_ids_wait_for_each_other(
    engine: Engine, make_engine: Callable[[], Engine]
) -> None:
    """The second sees duplicates once the first has committed, and no deadlock."""
    ids = [f"id-{number:03}" for number in range(100)]
    with ThreadPoolExecutor(2) as pool:
        with make_engine().begin() as other:
            other.execute(text("LOCK TABLE ledger IN EXCLUSIVE MODE"))
            first = pool.submit(_store(engine).commit, outcome(ids))
            _blocked(engine, "ledger")
            second = pool.submit(
                _store(engine).commit, outcome(ids[::-1], partition="transactions/1")
            )
            _waits_for_another(engine)
        assert first.result() == Tally(read=100, classified=100)
        assert second.result() == Tally(read=100, duplicate=100)


def _waits_for_another(engine: Engine) -> None:
    """Returns once a transaction waits for the end of another one."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    with engine.connect() as connection:
        while not connection.scalar(waiting):
            connection.rollback()


# ------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("08006", Unavailable, "is away"),
        ("25006", Unavailable, "is away"),
        ("40001", Unavailable, "is away"),
        ("40P01", Unavailable, "is away"),
        ("53100", Unavailable, "is away"),
        ("53300", Unavailable, "is away"),
        ("55P03", Unavailable, "is away"),
        ("57014", Unavailable, "is away"),
        ("57P01", Unavailable, "is away"),
        ("58030", Unavailable, "is away"),
        ("3F000", Fatal, "run `assay migrate`"),
        ("42P01", Fatal, "assay migrate"),
        ("42703", Fatal, "assay migrate"),
        ("42501", Fatal, "GRANT"),
        ("22001", Fatal, "22001"),
        ("23505", Fatal, "23505"),
        ("57P04", Fatal, "57P04"),
        ("XX000", Fatal, "XX000"),
    ],
)
def test_errors_are_sorted_by_their_code(
    config: PostgresConfig, code: str, kind: type[AssayError], advice: str
) -> None:
    """Whichever layer they come from, without the words of the server, which hold values."""
    statement = (
        "DO $$ BEGIN RAISE EXCEPTION 'secret message'"
        f" USING ERRCODE = '{code}', DETAIL = 'secret detail', HINT = 'secret hint'; END $$"
    )

    @translated()
    def through_sqlalchemy() -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))

    @translated()
    def through_psycopg() -> None:
        with psycopg.connect(config.url.get_secret_value()) as connection:
            connection.execute(statement.encode())

    engine = engine_for(config)
    for execute in (through_sqlalchemy, through_psycopg):
        with pytest.raises(kind, match=advice) as error:
            execute()
        assert "secret" not in "".join(traceback.format_exception(error.value)).replace(
            statement, ""
        )
    engine.dispose()


def test_a_row_that_the_tables_refuse_is_not_told(engine: Engine) -> None:
    """The message names the constraint; neither it nor the traceback holds the row."""
    broken = transaction("secret-id", description="secret words", confidence=1.5)
    with pytest.raises(Fatal, match=r"23514.*predictions_confidence") as fatal:
        _store(engine).commit(outcome([broken]))
    assert "secret" not in "".join(traceback.format_exception(fatal.value))
    assert _store(engine).positions("files", ["transactions/0"]) == {}


_STRAY = """
    UPDATE predictions SET number = ((SELECT last_value FROM ledger_entry) + 1) << 24
"""


def test_a_number_that_comes_twice_is_not_taken_for_a_duplicate(engine: Engine) -> None:
    """Books that do not balance stop the run instead of being hidden."""
    _store(engine).commit(outcome(["a"]))
    with engine.begin() as connection:
        connection.execute(text(_STRAY))
    with pytest.raises(Fatal, match=r"23505.*predictions_pkey"):
        _store(engine).commit(outcome(["b"], first=1))


# ------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("parts", "advice"),
    [
        ({"password": "wrong"}, "check user and password"),
        ({"user": "nobody"}, "check user and password"),
        ({"database": "nowhere"}, "no such database"),
    ],
)
def test_a_wrong_login_says_what_to_do(
    migrated: PostgresConfig, parts: dict[str, str], advice: str
) -> None:
    """Exit code 78; the message names the setting and no password."""
    with (
        _using(migrated, url=_elsewhere(migrated, **parts)) as store,
        pytest.raises(Fatal, match=advice) as fatal,
    ):
        store.commit(outcome(["a"]))
    password = urlsplit(migrated.url.get_secret_value()).password
    assert str(password) not in "".join(traceback.format_exception(fatal.value))


def test_a_password_may_stand_beside_the_url(migrated: PostgresConfig) -> None:
    """It goes before the one in it, whatever characters it has."""
    password = SecretStr(str(urlsplit(migrated.url.get_secret_value()).password))
    url = _elsewhere(migrated, password="wrong")
    with _using(migrated, url=url, password=password) as store:
        assert store.commit(outcome(["a"])).classified == 1
    odd = SecretStr("w rong' \\\"@/%41")
    with _using(migrated, password=odd) as store, pytest.raises(Fatal, match="password"):
        store.commit(outcome(["b"], first=1))


@pytest.fixture
def stranger(migrated: PostgresConfig, engine: Engine) -> Iterator[PostgresConfig]:
    """The login of a role without any rights on the tables."""
    name = "stranger_" + urlsplit(migrated.url.get_secret_value()).path[1:]
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'strange'"))
    url = _elsewhere(migrated, user=name, password="strange")
    yield migrated.model_copy(update={"url": url})
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))


def test_a_role_without_rights_says_what_to_do(stranger: PostgresConfig) -> None:
    """Rights on the tables must be granted."""
    with _using(stranger) as store, pytest.raises(Fatal, match="GRANT"):
        store.commit(outcome(["a"]))


def test_rights_that_a_run_needs_are_asked_for_beforehand(
    stranger: PostgresConfig, engine: Engine
) -> None:
    """The owner has all; a reader is told what to GRANT; a server that is read-only says so."""
    require_rights(engine)
    role = urlsplit(stranger.url.get_secret_value()).username
    with engine.begin() as connection:
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    try:
        reader = engine_for(stranger)
        lacking = (
            "GRANT INSERT ON transactions.*UPDATE ON positions.*USAGE ON SEQUENCE ledger_entry"
        )
        with pytest.raises(Fatal, match=lacking) as told:
            require_rights(reader)
        assert "corrections" not in str(told.value)
        reader.dispose()
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
    _alter(engine, "ROLE", role, "SET default_transaction_read_only TO on")
    reader = engine_for(stranger)
    with pytest.raises(Fatal, match="takes no writes"):
        require_rights(reader)
    reader.dispose()


def test_a_role_that_may_not_connect_says_what_to_do(
    stranger: PostgresConfig, engine: Engine
) -> None:
    """The server refuses it while the connection is made."""
    name = urlsplit(stranger.url.get_secret_value()).path[1:]
    with engine.begin() as connection:
        connection.execute(text(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"))
    try:
        with _using(stranger) as store, pytest.raises(Fatal, match="GRANT"):
            store.commit(outcome(["a"]))
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"GRANT CONNECT ON DATABASE {name} TO PUBLIC"))


def test_a_role_that_may_not_log_in_says_what_to_do(
    stranger: PostgresConfig, engine: Engine
) -> None:
    """The server refuses it while the connection is made."""
    _alter(engine, "ROLE", urlsplit(stranger.url.get_secret_value()).username, "NOLOGIN")
    with _using(stranger) as store, pytest.raises(Fatal, match="check user and password"):
        store.commit(outcome(["a"]))


def _alter(engine: Engine, kind: str, name: str | None, how: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER {kind} {name} {how}"))


def test_a_limit_of_connections_is_an_outage(stranger: PostgresConfig, engine: Engine) -> None:
    """Whether a role's or a database's: it passes once others have ended theirs."""
    url = urlsplit(stranger.url.get_secret_value())
    for kind, name in (("ROLE", url.username), ("DATABASE", url.path[1:])):
        _alter(engine, kind, name, "CONNECTION LIMIT 0")
        try:
            with _using(stranger) as store, pytest.raises(Unavailable, match="too many"):
                store.commit(outcome(["a"]))
        finally:
            _alter(engine, kind, name, "CONNECTION LIMIT -1")


def test_a_database_that_accepts_no_connections_is_away(migrated: PostgresConfig) -> None:
    """As during maintenance; `template0` never does."""
    with (
        _using(migrated, url=_elsewhere(migrated, database="template0")) as store,
        pytest.raises(Unavailable, match="currently"),
    ):
        store.commit(outcome(["a"]))


@pytest.mark.parametrize(
    "url", ["", "secret", "mysql://u:secret@h/d", "postgresql://u:secret@[h/d"]
)
def test_what_is_no_url_is_refused_without_being_told(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValidationError, match="no URL of the form") as error:
        PostgresConfig.model_validate({"url": url})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("port=secret", "port"),
        ("port=99999", "port"),
        ("sslmode=secret", "sslmode"),
        ("sslmode=require", "SSL was required"),
        ("channel_binding=require", "channel binding"),
        ("target_session_attrs=secret", "target_session_attrs"),
        ("require_auth=secret", "require_auth"),
        ("keepalives_idle=secret", "keepalives_idle"),
        ("hostaddr=secret", "address"),
        ("options=-cwork_mem%3Dsecret", "work_mem"),
        ("options=-cno_such_thing%3Dsecret", "no_such_thing"),
        ("service=none", "service"),
    ],
)
def test_a_wrong_parameter_of_the_url_says_what_to_do(
    migrated: PostgresConfig, parameter: str, said: str
) -> None:
    """Exit code 78, at once; the value is not told, as it may be a password's end."""
    url = SecretStr(f"{migrated.url.get_secret_value()}?{parameter}")
    with (
        _using(migrated, url=url) as store,
        pytest.raises(Fatal, match=f"{said}.*ASSAY_POSTGRES__URL") as fatal,
    ):
        store.commit(outcome(["a"]))
    assert "secret" not in "".join(traceback.format_exception(fatal.value))


@pytest.mark.parametrize("value", ["inf", "nan", "0", "0.0001", "1e9", "-1"])
@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout"])
def test_a_limit_that_the_server_cannot_keep_is_refused(name: str, value: str) -> None:
    """It would refuse the connection, or take it for none."""
    with pytest.raises(ValidationError, match=name):
        PostgresConfig.model_validate({"url": "postgresql://h/d", name: value})


def test_a_connect_timeout_that_is_no_number_is_refused() -> None:
    """In the URL."""
    with pytest.raises(ValidationError, match="connect_timeout is no number"):
        PostgresConfig.model_validate({"url": "postgresql://h/d?connect_timeout=soon"})


def test_the_settings_reach_the_server(migrated: PostgresConfig) -> None:
    """Name, time limits and, whatever the server's own is, UTC."""
    config = migrated.model_copy(update={"application_name": "assay-batch", "lock_timeout": 1.5})
    engine = engine_for(config)
    names = ["application_name", "statement_timeout", "lock_timeout", "timezone"]
    with engine.connect() as connection:
        shown = [connection.scalar(text(f"SHOW {name}")) for name in names]
    engine.dispose()
    assert shown == ["assay-batch", "5min", "1500ms", "UTC"]


def test_the_url_goes_before_the_settings(migrated: PostgresConfig) -> None:
    """Its parameters and options hold; those that it leaves out are as the settings have them."""
    parameters = (
        "application_name=nightly&connect_timeout=7&keepalives_idle=11"
        "&options=-csearch_path%3Dbooks%20-clock_timeout%3D2s%20-ctimezone%3DAsia/Tokyo"
    )
    url = SecretStr(f"{migrated.url.get_secret_value()}?{parameters}")
    engine = engine_for(migrated.model_copy(update={"url": url}))
    names = ["application_name", "search_path", "lock_timeout", "statement_timeout", "timezone"]
    with engine.connect() as connection:
        shown = [connection.scalar(text(f"SHOW {name}")) for name in names]
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        parameters_used = driver.info.get_parameters()
    engine.dispose()
    assert shown == ["nightly", "books", "2s", "5min", "UTC"]
    assert parameters_used["connect_timeout"] == "7"
    assert parameters_used["keepalives_idle"] == "11"


def test_what_a_role_prefers_changes_no_value(stranger: PostgresConfig, engine: Engine) -> None:
    """Another encoding and other dates, as a role or a database may have them by default."""
    role = urlsplit(stranger.url.get_secret_value()).username
    for preference in ("client_encoding TO LATIN1", "datestyle TO German", "timezone TO PST8PDT"):
        _alter(engine, "ROLE", role, f"SET {preference}")
    another = engine_for(
        stranger.model_copy(
            update={
                "url": SecretStr(
                    f"{stranger.url.get_secret_value()}?client_encoding=LATIN1"
                    "&options=-cdatestyle%3DGerman"
                )
            }
        )
    )
    with another.connect() as connection:
        asked = text("SELECT 'Ω' || :given, TIMESTAMPTZ '2024-05-06 07:08:09+02'")
        found = connection.execute(asked, {"given": "…"}).one()
    another.dispose()
    assert tuple(found) == ("Ω…", datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC))
