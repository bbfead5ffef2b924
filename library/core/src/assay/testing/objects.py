"""The port suite of `assay.ports.objects`: what every adapter guarantees."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from assay.domain.errors import Fatal, Replaced, Taken
from assay.ports.objects import Object, Objects

ODD_NAMES = (
    "with space.csv",
    "a+b=c&d.csv",
    "50%.csv",
    "100%25.csv",
    "number#1.csv",
    "relevé é ü 日本 😀.csv",
    "quote'\"`;,$!(){}.csv",
    "back\\slash.csv",
    "~tilde@at:colon|pipe.csv",
    "star*.csv",
    "what?.csv",
    "range[1-3].csv",
)

NAMES = (
    "a-1.csv",
    "a/1.csv",
    "a/1.txt",
    "a/b/1.csv",
    "a/b/c/10.csv",
    "a/b/c/2.csv",
    "a0.csv",
    "b.csv",
    "z.csv",
    "é.csv",
)
"""In the order of their bytes: `-` comes before `/`, that before `0`."""

PATTERNS = {
    "": NAMES,
    "a/": tuple(name for name in NAMES if name.startswith("a/")),
    "a/b/": ("a/b/1.csv", "a/b/c/10.csv", "a/b/c/2.csv"),
    "b.csv": ("b.csv",),
    "b": (),
    "absent.csv": (),
    "*.csv": ("a-1.csv", "a0.csv", "b.csv", "z.csv", "é.csv"),
    "?.csv": ("b.csv", "z.csv", "é.csv"),
    "a/*": ("a/1.csv", "a/1.txt"),
    "a/*.csv": ("a/1.csv",),
    "a/*/*.csv": ("a/b/1.csv",),
    "a/*/": ("a/b/1.csv", "a/b/c/10.csv", "a/b/c/2.csv"),
    "a/**": ("a/1.csv", "a/1.txt", "a/b/1.csv", "a/b/c/10.csv", "a/b/c/2.csv"),
    "a/**/1.csv": ("a/1.csv", "a/b/1.csv"),
    "**/1.csv": ("a/1.csv", "a/b/1.csv"),
    "**.txt": ("a/1.txt",),
    "a?1.csv": ("a-1.csv",),
    "a[-/]1.csv": ("a-1.csv",),
    "[a-b].csv": ("b.csv",),
    "[!a-b].csv": ("z.csv", "é.csv"),
    "[^z]*.csv": ("a-1.csv", "a0.csv", "b.csv", "é.csv"),
    "*.CSV": (),
    "nowhere*/x.csv": (),
}


class ObjectsSuite:
    """Subclass it, named `Test…`, with the three fixtures."""

    @pytest.fixture
    def objects(self) -> Objects:
        """The adapter."""
        raise NotImplementedError

    @pytest.fixture
    def root(self) -> str:
        """Where nothing lies yet; ends in `/`. A name goes behind it as it is."""
        raise NotImplementedError

    @pytest.fixture
    def nowhere(self) -> str:
        """The like in a bucket or folder that does not exist."""
        raise NotImplementedError

    @pytest.fixture
    def exclusive(self, objects: Objects) -> Objects:
        """The same, set up so that even an emulator heeds a name's being free."""
        return objects

    @pytest.fixture
    def tree(self, objects: Objects, root: str) -> str:
        """A root with an object for each of `NAMES`, whose content is the name."""
        for name in reversed(NAMES):
            objects.write(root + name, name.encode())
        return root

    def test_what_is_written_is_read(self, objects: Objects, root: str) -> None:
        """The bytes come back, and the object that is listed is the one that was written."""
        body = bytes(range(256)) * 100
        written = objects.write(root + "file.bin", body)
        assert written.size == len(body)
        assert list(objects.list(root + "file.bin")) == [written]
        assert list(objects.list(root)) == [written]
        assert _content(objects, written) == body

    def test_an_empty_object_is_an_object(self, objects: Objects, root: str) -> None:
        """It is listed and has no bytes."""
        written = objects.write(root + "empty.csv", b"")
        assert list(objects.list(root)) == [written]
        assert _content(objects, written) == b""

    @pytest.mark.parametrize("start", [0, 1, 1_000, 2_999_999, 3_000_000, 4_000_000])
    def test_reading_begins_anywhere(self, objects: Objects, root: str, start: int) -> None:
        """From an offset to the end; from the end on there is nothing."""
        body = b"0123456789abcde\n" * 187_500
        item = objects.write(root + "file.txt", body)
        blocks = list(objects.read(item, start))
        assert b"".join(blocks) == body[start:]
        assert all(blocks)

    def test_blocks_are_bounded(self, objects: Objects, root: str) -> None:
        """However long the object, a block has at most some MiB."""
        item = objects.write(root + "long.bin", bytes(20 << 20))
        sizes = [len(block) for block in objects.read(item)]
        assert sum(sizes) == 20 << 20
        assert max(sizes) <= 8 << 20

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_a_pattern_selects_by_the_rules(
        self, objects: Objects, tree: str, pattern: str
    ) -> None:
        """Exactly those, in the order of their names."""
        found = [_content(objects, item).decode() for item in objects.list(tree + pattern)]
        assert found == list(PATTERNS[pattern])

    def test_a_pattern_without_meaning_is_refused(self, objects: Objects, tree: str) -> None:
        """A range that runs backwards selects nothing anyone could have meant."""
        with pytest.raises(Fatal):
            list(objects.list(tree + "[z-a].csv"))

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_will_do(self, objects: Objects, root: str, name: str) -> None:
        """It can be written, found by itself and in a listing, read and moved."""
        written = objects.write(root + name, b"content")
        objects.write(root + "other.txt", b"other")
        assert list(objects.list(root + name)) == [written]
        assert list(objects.list(written.uri)) == [written]
        assert written in list(objects.list(root))
        assert _content(objects, written) == b"content"
        moved = objects.move(written, f"{root}archive/{name}")
        assert list(objects.list(f"{root}archive/")) == [moved]
        assert _content(objects, moved) == b"content"

    def test_names_differ_by_case(self, objects: Objects, root: str) -> None:
        """Nothing is folded."""
        for name in ("a.csv", "A.csv"):
            objects.write(root + name, name.encode())
        assert [_content(objects, item) for item in objects.list(root)] == [b"A.csv", b"a.csv"]

    def test_versions_tell_contents_apart(self, objects: Objects, root: str) -> None:
        """Another content under the same name is another version, and another partition."""
        one = objects.write(root + "file.csv", b"one")
        two = objects.write(root + "file.csv", b"two")
        assert one.uri == two.uri
        assert one.version != two.version
        assert one.partition != two.partition
        assert list(objects.list(root)) == [two]

    def test_a_replaced_version_is_never_mixed_up(self, objects: Objects, root: str) -> None:
        """Read later or half-way, there are its own bytes or `Replaced`, never the other's."""
        old = objects.write(root + "file.bin", b"o" * (9 << 20))
        reading = objects.read(old)
        begun = next(reading)
        new = objects.write(root + "file.bin", b"n" * (9 << 20))
        for rest, size in ((reading, old.size - len(begun)), (objects.read(old), old.size)):
            try:
                content = b"".join(rest)
            except Replaced:
                continue
            assert content == b"o" * size
        assert _content(objects, new) == b"n" * new.size

    def test_nobody_reads_half_a_write(self, objects: Objects, root: str) -> None:
        """While two writers replace an object over and over, readers see one whole content."""
        contents = {bytes([digit]) * 300_000 for digit in b"0123456789"}
        objects.write(root + "file.bin", b"0" * 300_000)
        done = threading.Event()

        def read() -> int:
            seen = 0
            while not (done.is_set() and seen):
                (item,) = objects.list(root + "file.bin")
                try:
                    assert _content(objects, item) in contents
                except Replaced:
                    continue
                seen += 1
            return seen

        def write() -> None:
            for content in sorted(contents) * 2:
                objects.write(root + "file.bin", content)

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            writers = [pool.submit(write) for _ in range(2)]
            try:
                for writer in writers:
                    writer.result()
            finally:
                done.set()
            assert all(reader.result() for reader in readers)

    @pytest.mark.parametrize("there", [b"", b"from last year", b"content"])
    def test_what_must_be_new_replaces_nothing(
        self, objects: Objects, root: str, there: bytes
    ) -> None:
        """Whatever is there stays, however often it is asked for."""
        kept = objects.write(root + "file.csv", there, is_new=True)
        for _ in range(2):
            with pytest.raises(Taken, match=r"file\.csv"):
                objects.write(root + "file.csv", b"content", is_new=True)
        assert _listed(objects, root) == [kept]
        assert _content(objects, kept) == there

    def test_of_many_that_must_be_new_one_is_written(self, objects: Objects, root: str) -> None:
        """At once: it is whole, and all others are told."""

        def write(number: int) -> bytes | None:
            body = b"%d" % number * 100_000
            try:
                objects.write(root + "file.csv", body, is_new=True)
            except Taken:
                return None
            return body

        with ThreadPoolExecutor(8) as pool:
            written = [each for each in pool.map(write, range(8)) if each is not None]
        (there,) = _listed(objects, root)
        assert [_content(objects, there)] == written

    def test_a_move_gives_another_name(self, objects: Objects, root: str) -> None:
        """The content is at the new name only."""
        item = objects.write(root + "in/file.csv", b"content")
        moved = objects.move(item, root + "archive/2024/file.csv")
        assert _listed(objects, root) == [moved]
        assert _content(objects, moved) == b"content"

    @pytest.mark.parametrize("there", [b"", b"from last year", b"CONTENT"])
    def test_a_move_replaces_nothing(self, objects: Objects, root: str, there: bytes) -> None:
        """The name is taken, and both objects stay, however often it is asked for."""
        kept = objects.write(root + "archive/file.csv", there)
        item = objects.write(root + "file.csv", b"content")
        for _ in range(2):
            with pytest.raises(Taken, match=r"archive/file\.csv"):
                objects.move(item, root + "archive/file.csv")
        assert _listed(objects, root) == [kept, item]
        assert [_content(objects, each) for each in (kept, item)] == [there, b"content"]

    def test_a_move_to_a_name_of_the_same_content_loses_nothing(
        self, objects: Objects, root: str
    ) -> None:
        """It is done already, or the name is taken: the content is at that name in any case."""
        there = objects.write(root + "archive/file.csv", b"content")
        item = objects.write(root + "file.csv", b"content")
        try:
            left = [objects.move(item, root + "archive/file.csv")]
        except Taken:
            left = [there, item]
        assert _listed(objects, root) == left
        assert _content(objects, left[0]) == b"content"

    def test_of_many_moves_to_a_name_one_succeeds(self, exclusive: Objects, root: str) -> None:
        """At once: the others stay where they are."""
        objects = exclusive
        items = [objects.write(f"{root}in/{each}.csv", b"%d" % each) for each in range(8)]

        def move(item: Object) -> Object:
            try:
                return objects.move(item, root + "archive/file.csv")
            except Taken:
                return item

        with ThreadPoolExecutor(8) as pool:
            left = list(pool.map(move, items))
        assert _listed(objects, root) == sorted(left, key=lambda each: each.uri)
        assert [_content(objects, each) for each in left] == [b"%d" % each for each in range(8)]
        assert sum("archive" in each.uri for each in left) == 1

    def test_a_move_may_be_repeated(self, objects: Objects, root: str) -> None:
        """After it is done, as a crash may ask for it, nothing changes."""
        item = objects.write(root + "file.csv", b"content")
        moved = objects.move(item, root + "archive/file.csv")
        assert objects.move(item, root + "archive/file.csv") == moved
        assert _listed(objects, root) == [moved]

    def test_a_move_that_is_repeated_spares_a_new_object(self, objects: Objects, root: str) -> None:
        """Whatever has taken the name since stays."""
        item = objects.write(root + "file.csv", b"content")
        moved = objects.move(item, root + "archive/file.csv")
        new = objects.write(root + "file.csv", b"of the next day")
        assert objects.move(item, root + "archive/file.csv") == moved
        assert _listed(objects, root) == [moved, new]

    def test_a_move_to_where_it_is_does_nothing(self, objects: Objects, root: str) -> None:
        """Above all it does not delete it."""
        item = objects.write(root + "file.csv", b"content")
        assert objects.move(item, item.uri) == item
        assert _listed(objects, root) == [item]
        assert _content(objects, item) == b"content"

    def test_a_replaced_version_is_not_moved_in_the_others_place(
        self, objects: Objects, root: str
    ) -> None:
        """It is refused, or the old version goes; the new one stays in any case."""
        old = objects.write(root + "file.csv", b"old")
        new = objects.write(root + "file.csv", b"new")
        try:
            moved = [objects.move(old, root + "archive/file.csv")]
        except Replaced:
            moved = []
        assert _listed(objects, root) == [*moved, new]
        assert [_content(objects, item) for item in moved] == [b"old" for _ in moved]

    def test_what_never_was_cannot_be_moved(self, objects: Objects, root: str) -> None:
        """A version that is neither there nor at the other name."""
        item = objects.write(root + "file.csv", b"content")
        never = Object(item.uri, objects.write(root + "other.csv", b"other").version, 5)
        with pytest.raises(Replaced):
            objects.move(never, root + "archive/file.csv")
        with pytest.raises(Replaced):
            list(objects.read(never))
        assert list(objects.list(root + "file.csv")) == [item]

    def test_a_missing_place_is_fatal(self, objects: Objects, nowhere: str) -> None:
        """A bucket or folder that does not exist is no empty one."""
        for uri in (nowhere, nowhere + "*.csv", nowhere + "file.csv"):
            with pytest.raises(Fatal):
                list(objects.list(uri))

    def test_an_unknown_scheme_is_fatal(self, objects: Objects) -> None:
        """An address for another adapter."""
        for uri in ("gopher://host/file.csv", "gopher://host/"):
            with pytest.raises(Fatal):
                list(objects.list(uri))

    def test_a_name_is_needed(self, objects: Objects, root: str) -> None:
        """A prefix cannot be written to nor moved to."""
        item = objects.write(root + "file.csv", b"content")
        with pytest.raises(Fatal):
            objects.write(root, b"content")
        with pytest.raises(Fatal):
            objects.move(item, root)
        assert _listed(objects, root) == [item]

    def test_threads_share_it(self, objects: Objects, root: str) -> None:
        """Many writes, reads and moves at once, each with its own object."""

        def travel(number: int) -> bytes:
            content = f"object {number}".encode()
            item = objects.write(f"{root}in/{number}.csv", content)
            return _content(objects, objects.move(item, f"{root}out/{number}.csv"))

        with ThreadPoolExecutor(8) as pool:
            contents = list(pool.map(travel, range(32)))
        assert contents == [f"object {number}".encode() for number in range(32)]
        assert len(_listed(objects, root)) == 32

    def test_a_reader_may_stop(self, objects: Objects, root: str) -> None:
        """Reading can be left at any block, many times over; nothing is held back."""
        item = objects.write(root + "file.bin", bytes(3 << 20))
        for _ in repeat(None, 20):
            reading: Iterator[bytes] = iter(objects.read(item))
            assert next(reading)
            del reading
        assert len(_content(objects, item)) == 3 << 20


def _content(objects: Objects, item: Object) -> bytes:
    return b"".join(objects.read(item))


def _listed(objects: Objects, root: str) -> list[Object]:
    return list(objects.list(root))
