"""Jars are fetched once, and used only as they were released."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assay_local import LocalError, SetupError, jars
from assay_local.jars import CACHE, MAVEN, Lock

CONTENT = {"one": b"content of one", "two": b"content of two"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths of the jars that a repository was asked for; it has those of CONTENT."""
    paths: list[str] = []

    class Repository(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = CONTENT.get(Path(self.path).name.removesuffix("-1.0.jar"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            if content is not None:
                paths.append(self.path)
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is named
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv(MAVEN, f"http://127.0.0.1:{server.server_port}/maven/")
    yield paths
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    """A lock file of two jars, and a cache that is empty."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    file = tmp_path / "thing.lock.toml"
    sums = [
        f'"org.thing:{name}:1.0" = "{hashlib.sha256(content).hexdigest()}"'
        for name, content in CONTENT.items()
    ]
    file.write_text("\n".join(['version = "1.0"', "megabytes = 1", "[jars]", *sums]))
    return jars.read(file)


def test_jars_are_fetched_once_for_all_who_ask(asked: list[str], lock: Lock) -> None:
    """Several who need them at the same time fetch each jar once; nothing else is left."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(jars.installed, [lock] * 4))
    assert found == [[lock.folder / "one-1.0.jar", lock.folder / "two-1.0.jar"]] * 4
    assert [path.read_bytes() for path in found[0]] == list(CONTENT.values())
    assert sorted(asked) == [f"/maven/org/thing/{name}/1.0/{name}-1.0.jar" for name in CONTENT]
    names = {path.name for path in jars.cache().iterdir()}
    assert names == {lock.folder.name, f"{lock.folder.name}.lock"}


def test_tampered_jars_are_not_used(asked: list[str], lock: Lock) -> None:
    """A jar that differs, is missing or is too many is said, with the folder to delete."""
    jars.installed(lock)
    (lock.folder / "one-1.0.jar").write_bytes(b"content of 0ne")
    with pytest.raises(SetupError, match=rf"{lock.folder} are not used: one-1\.0\.jar is not the"):
        jars.installed(lock)
    (lock.folder / "one-1.0.jar").rename(lock.folder / "bad.jar")
    with pytest.raises(SetupError, match=r"one-1\.0\.jar is missing; bad\.jar does not.*Delete"):
        jars.installed(lock)
    shutil.rmtree(lock.folder)
    jars.installed(lock)
    assert len(asked) == 4


def test_a_repository_with_other_jars_is_not_believed(
    asked: list[str], lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has another sha256 than the lock file says is not kept."""
    monkeypatch.setitem(CONTENT, "two", b"other content")
    with pytest.raises(SetupError, match=r"two-1\.0\.jar is not the one that was released"):
        jars.installed(lock)
    assert len(asked) == 2
    assert [path.suffix for path in jars.cache().iterdir()] == [".lock"]


@pytest.mark.usefixtures("asked")
def test_jars_that_cannot_be_had_are_said(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the repository is away or lacks one: what was tried and what to do; none is kept."""
    monkeypatch.delitem(CONTENT, "two")
    with pytest.raises(LocalError, match=r"thing 1\.0 \(1 MB, once\) could not be fetched.*two"):
        jars.installed(lock)
    monkeypatch.setenv(MAVEN, "http://127.0.0.1:1")
    with pytest.raises(LocalError, match=f"from http://127.0.0.1:1: .*{MAVEN}"):
        jars.installed(lock)
    assert [path.suffix for path in jars.cache().iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_said(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder can be named."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE, str(tmp_path / "file/cache"))
    with pytest.raises(SetupError, match=CACHE):
        jars.installed(lock)


def test_the_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own variable goes before that of the desktop, and that before the usual folder."""
    monkeypatch.delenv(CACHE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jars.cache() == tmp_path / ".cache/assay"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jars.cache() == tmp_path / "xdg/assay"
    monkeypatch.setenv(CACHE, str(tmp_path / "own"))
    assert jars.cache() == tmp_path / "own"
