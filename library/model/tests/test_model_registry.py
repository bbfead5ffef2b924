"""The registry over memory, local files and S3: what it holds, what it refuses, who wins."""

import dataclasses
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydantic import HttpUrl, SecretStr

from assay.domain.errors import (
    CONFIGURATION,
    DATA,
    TEMPORARY,
    AssayError,
    Fatal,
    Replaced,
    Unavailable,
)
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.memory.objects import MemoryObjects
from assay.ports.objects import Objects
from assay_adapters.files.objects import LocalObjects
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_model import promotions
from assay_model.artifact import Artifact, ArtifactError, save
from assay_model.lexicon import GROUPS
from assay_model.linear import Linear
from assay_model.promotions import OtherTaxonomy, standing
from assay_model.registry import (
    Differs,
    Manifest,
    Overtaken,
    Promotion,
    Registry,
    UnknownVersion,
    described,
)
from assay_model.scores import Weights

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
promote = partial(promotions.promote, at=AT, by="ada")
rollback = partial(promotions.rollback, at=AT, by="ada")
shadow = partial(promotions.shadow, at=AT, by="ada")


@pytest.fixture(params=["memory", "files", "s3"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """An empty registry."""
    match request.param:
        case "memory":
            return Registry(MemoryObjects(), "memory://bucket/models/")
        case "files":
            (tmp_path / "models").mkdir()
            return Registry(LocalObjects(), f"{(tmp_path / 'models').resolve().as_uri()}/")
        case _:
            settings = request.getfixturevalue("s3_settings")
            config = S3Config(
                endpoint_url=HttpUrl(settings.endpoint_url),
                access_key_id=settings.access_key_id,
                secret_access_key=SecretStr(settings.secret_access_key),
                region=settings.region,
            )
            # The emulator passes over If-None-Match of a copy, unless the copy goes in parts.
            objects = S3Objects(s3_client(config), single=0)
            return Registry(objects, f"s3://{request.getfixturevalue('bucket')}/models/")


@pytest.fixture
def memory() -> MemoryObjects:
    """Objects that can be made to fail."""
    return MemoryObjects()


@pytest.fixture
def faulty(memory: MemoryObjects) -> Registry:
    """An empty registry over them."""
    return Registry(memory, "memory://bucket/models/")


Publish = Callable[..., Manifest]


@pytest.fixture
def publish(artifact: Artifact, tmp_path: Path) -> Publish:
    """Publishes the small model under another version."""

    def published(
        registry: Registry, version: str, *, notes: str = "", categories: tuple[str, ...] = ()
    ) -> Manifest:
        named = dataclasses.replace(
            artifact,
            version=version,
            notes={
                "data": [{"file": "cards.csv", "licence": "ours", "attribution": "Us."}],
                "tested": {
                    "rows": 9,
                    "from": "2021-01-01",
                    "to": "2021-12-31",
                    "measured": {"all rows": {"accuracy": 0.9}},
                },
                "remark": notes,
            },
            taxonomy=Taxonomy("t", "1", categories or DEFAULT.categories[:4]),
            weights=silent(artifact.weights, len(categories)) if categories else artifact.weights,
            fields={},
        )
        path = tmp_path / "published.npz"
        save(named, path)
        manifest = described(named, path.read_bytes(), at=AT, by="ada")
        registry.publish(path.read_bytes(), manifest)
        return manifest

    return published


def silent(weights: Weights, categories: int) -> Weights:
    """Weights of the same texts that say nothing, for so many categories."""

    def layer(of: Linear) -> Linear:
        return dataclasses.replace(
            of,
            weights=np.zeros((of.power.size, categories), np.int8),
            scale=np.ones(categories, np.float32),
            intercept=np.zeros(categories, np.float32),
        )

    return dataclasses.replace(
        weights,
        familiar=layer(weights.familiar),
        general=layer(weights.general),
        phrases=np.zeros((GROUPS, categories, categories), np.float32),
    )


def put(objects: Objects, uri: str, content: bytes) -> None:
    objects.write(uri, content)


# ---------------------------------------------------------------- versions


def test_what_is_published_is_read(registry: Registry, publish: Publish) -> None:
    """A version comes back with its manifest, which tells what its artifact's notes say."""
    assert registry.versions() == {}
    manifest = publish(registry, "1-aa")
    assert registry.versions() == {"1-aa": manifest}
    assert registry.manifest("1-aa") == manifest
    assert registry.read(manifest).version == "1-aa"
    assert [each["file"] for each in manifest.data] == ["cards.csv"]
    assert manifest.metrics == {"all rows": {"accuracy": 0.9}}
    assert (manifest.at, manifest.by) == (AT, "ada")
    assert manifest.code


def test_the_same_once_more_changes_nothing(
    registry: Registry, publish: Publish, tmp_path: Path
) -> None:
    """It is told to be there already; another artifact of the version is refused, with 65."""
    manifest = publish(registry, "1-aa")
    content = (tmp_path / "published.npz").read_bytes()
    before = list(registry.objects.list(registry.root))
    assert not registry.publish(content, manifest)
    with pytest.raises(Differs) as refused:
        publish(registry, "1-aa", notes="other")
    assert refused.value.exit_code == DATA
    assert list(registry.objects.list(registry.root)) == before


def test_a_version_without_a_manifest_is_none(
    registry: Registry, publish: Publish, tmp_path: Path
) -> None:
    """What a publication that broke off has left is no version; repeated, it becomes one."""
    manifest = publish(Registry(MemoryObjects(), "memory://bucket/"), "1-aa")
    content = (tmp_path / "published.npz").read_bytes()
    put(registry.objects, f"{registry.root}versions/1-aa/model.npz", content)
    assert registry.versions() == {}
    with pytest.raises(UnknownVersion):
        registry.manifest("1-aa")
    with pytest.raises(Differs, match="belongs to no version"):
        publish(registry, "1-aa", notes="other")
    assert registry.publish(content, manifest)
    assert registry.read(registry.manifest("1-aa")).version == "1-aa"


@pytest.mark.parametrize("point", ["write", "write.done", "move", "move.done"])
@pytest.mark.parametrize("step", [0, 1])
def test_a_publication_that_breaks_off_can_be_repeated(
    faulty: Registry, memory: MemoryObjects, publish: Publish, point: str, step: int
) -> None:
    """Wherever that is, nobody sees half of a version, and the next attempt makes it whole."""
    seen: list[str] = []

    def fail(at: str) -> None:
        seen.append(at)
        if seen.count(point) > step:
            raise Unavailable("away")

    memory.faults.always = fail
    with pytest.raises(Unavailable):
        publish(faulty, "1-aa")
    memory.faults.always = None
    for manifest in faulty.versions().values():
        assert isinstance(manifest, Manifest)
        assert faulty.read(manifest).version == "1-aa"
    publish(faulty, "1-aa")
    assert faulty.read(faulty.manifest("1-aa")).version == "1-aa"


def test_a_version_may_be_abbreviated(registry: Registry, publish: Publish) -> None:
    """If no other begins so; a whole name goes before longer ones."""
    for version in ("1-ab", "1-abc", "2-d"):
        publish(registry, version)
    assert registry.manifest("2").version == "2-d"
    assert registry.manifest("1-abc").version == "1-abc"
    assert registry.manifest("1-ab").version == "1-ab"
    with pytest.raises(
        UnknownVersion, match="several versions that begin with 1; there are: 1-ab, 1-abc"
    ):
        registry.manifest("1")
    for unknown in ("3", ""):
        with pytest.raises(UnknownVersion, match="1-ab, 1-abc, 2-d") as refused:
            registry.manifest(unknown)
        assert refused.value.exit_code == CONFIGURATION


def shortened(content: bytes) -> bytes:
    return content[:-20]


def altered(content: bytes) -> bytes:
    return content[:99] + bytes([content[99] ^ 1]) + content[100:]


def emptied(_: bytes) -> bytes:
    return b""


def of_another_version(content: bytes) -> bytes:
    return content.replace(b"1-aa", b"1-ab")


def of_strange_figures(content: bytes) -> bytes:
    return content.replace(b'"accuracy": 0.9', b'"accuracy": "x"')


def of_no_day(content: bytes) -> bytes:
    return re.sub(rb'"at": "[^"]*"', b'"at": "9999-12-31T23:59:59-14:00"', content)


def of_another_model(content: bytes) -> bytes:
    return content.replace(b'"assay-linear"', b'"another"')


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("model.npz", shortened, "model.npz is damaged"),
        ("model.npz", altered, "model.npz is damaged"),
        ("model.npz", emptied, "model.npz is damaged"),
        ("manifest.json", shortened, "manifest.json is damaged"),
        ("manifest.json", of_another_version, "manifest.json is damaged"),
        ("manifest.json", of_strange_figures, "damaged"),
        ("manifest.json", of_no_day, "damaged"),
        ("manifest.json", of_another_model, "another model than its manifest says"),
    ],
)
def test_what_is_damaged_is_named(
    registry: Registry,
    publish: Publish,
    name: str,
    spoil: Callable[[bytes], bytes],
    reason: str,
) -> None:
    """File and reason, as a matter of configuration; the other versions stand in the list."""
    publish(registry, "1-aa")
    publish(registry, "2-bb")
    uri = f"{registry.root}versions/1-aa/{name}"
    (item,) = registry.objects.list(uri)
    put(registry.objects, uri, spoil(b"".join(registry.objects.read(item))))
    with pytest.raises(ArtifactError, match=reason) as refused:
        registry.read(registry.manifest("1-aa"))
    assert uri.replace("manifest.json", "") in str(refused.value)
    assert refused.value.exit_code == CONFIGURATION
    assert list(registry.versions()) == ["1-aa", "2-bb"]
    assert isinstance(registry.versions()["2-bb"], Manifest)
    with pytest.raises(ArtifactError):
        promote(registry, "1-aa")
    assert registry.current() is None


def test_an_empty_manifest_is_none(registry: Registry, publish: Publish) -> None:
    """As a local file has its name before its content; what a crash has left so is named."""
    uri = f"{registry.root}versions/1-aa/manifest.json"
    put(registry.objects, uri, b"")
    assert registry.versions() == {}
    with pytest.raises(Differs, match=r"manifest\.json is there, differs.*delete it"):
        publish(registry, "1-aa")


def test_an_artifact_that_is_gone_is_named(faulty: Registry, memory: MemoryObjects) -> None:
    """Its manifest is there, and it is not."""
    manifest = Manifest(
        name="n", version="1-aa", sha256="", size=1, taxonomy=DEFAULT, data=[], metrics={},
        code="0", at=AT, by="ada",
    )  # fmt: skip
    uri = "memory://bucket/models/versions/1-aa/manifest.json"
    put(memory, uri, manifest.model_dump_json().encode())
    with pytest.raises(ArtifactError, match=r"1-aa/model\.npz is not there"):
        faulty.read(faulty.manifest("1-aa"))


def test_what_is_foreign_is_passed_over(registry: Registry, publish: Publish) -> None:
    """Notes, folders and files that others have left there are neither versions nor promotions."""
    publish(registry, "1-aa")
    promote(registry, "1-aa")
    for name in (
        "README.md",
        "notes.json",
        "versions/manifest.json",
        "versions/of mine/manifest.json",
        "versions/1-aa/deeper/manifest.json",
        "versions/1-aa/manifest.json.bak",
        "other/1-zz/manifest.json",
        "promotions/7.json",
        "promotions/00000009.json.tmp",
        "promotions/2026/00000009.json",
        "more/00000009.json",
        "corrections.json",
    ):
        put(registry.objects, registry.root + name, b"{}")
    assert list(registry.versions()) == ["1-aa"]
    assert registry.log().next == 2
    assert [each.version for each in registry.log().entries] == ["1-aa"]


def test_a_version_must_be_a_name(artifact: Artifact) -> None:
    """What would lead out of its folder is refused."""
    for version in ("../1", "", "a/b", "a b", ".hidden"):
        with pytest.raises(ArtifactError):
            described(dataclasses.replace(artifact, version=version), b"", at=AT, by="ada")


def test_a_local_folder_that_is_missing_is_no_empty_registry(tmp_path: Path) -> None:
    """A folder that was not mounted must not look like one where nothing is promoted."""
    registry = Registry(LocalObjects(), f"{tmp_path.as_uri()}/nowhere/")
    for look in (registry.versions, registry.current, registry.log):
        with pytest.raises(Fatal):
            look()


# ---------------------------------------------------------------- promotions


def test_the_latest_promotion_holds(registry: Registry, publish: Publish) -> None:
    """Each is one entry more, with who, when and why; earlier ones stay as they were."""
    assert registry.current() is None
    assert registry.log().current is None
    publish(registry, "1-aa")
    publish(registry, "2-bb")
    assert promote(registry, "1", reason="the first")[0] is None
    first = registry.current()
    before, after = promote(registry, "2")
    assert before == first
    assert registry.current() == after
    assert registry.log().entries == (first, after)
    assert first == Promotion(
        number=1,
        action="promote",
        version="1-aa",
        challenger=None,
        reason="the first",
        at=AT,
        by="ada",
    )


def test_what_is_served_already_is_no_entry(registry: Registry, publish: Publish) -> None:
    """Promoting it again changes nothing."""
    publish(registry, "1-aa")
    _, after = promote(registry, "1-aa")
    assert promote(registry, "1-aa") == (after, after)
    assert registry.log().next == 2


def test_after_the_last_number_nothing_is_promoted(registry: Registry, publish: Publish) -> None:
    """Such an entry is foreign, and one of nine digits would never be read."""
    publish(registry, "1-aa")
    publish(registry, "2-bb")
    foreign = promote(registry, "1-aa")[1].model_copy(update={"number": 99_999_999})
    registry.append(foreign)
    with pytest.raises(Fatal, match=r"promotions/99999999\.json leaves no number"):
        promote(registry, "2-bb")
    assert registry.current() == foreign


def test_of_two_promotions_at_once_one_holds(registry: Registry, publish: Publish) -> None:
    """The other is told so, with 75, and has changed nothing."""
    publish(registry, "1-aa")
    entries = [
        Promotion(
            number=1, action="promote", version="1-aa", challenger=None, at=AT, by=by, reason=None
        )
        for by in ("ada", "bob", "eve", "joe")
    ]

    def append(entry: Promotion) -> str | None:
        try:
            registry.append(entry)
        except Overtaken:
            return None
        return entry.by

    with ThreadPoolExecutor(4) as pool:
        won = [each for each in pool.map(append, entries) if each]
    current = registry.current()
    assert current is not None
    assert won == [current.by]
    assert registry.log().next == 2


def test_somebody_who_promoted_in_between_is_not_overruled(
    faulty: Registry, memory: MemoryObjects, publish: Publish
) -> None:
    """Between the look at the log and the entry."""
    for version in ("1-aa", "2-bb", "3-cc"):
        publish(faulty, version)
    promote(faulty, "1-aa")
    inner = [lambda: promote(faulty, "3-cc")]

    def meanwhile(point: str) -> None:
        if point == "move" and inner:
            inner.pop()()

    memory.faults.always = meanwhile
    with pytest.raises(Overtaken) as overtaken:
        promote(faulty, "2-bb")
    assert overtaken.value.exit_code == TEMPORARY
    memory.faults.always = None
    assert [each.version for each in faulty.log().entries] == ["1-aa", "3-cc"]


def test_rollbacks_lead_back_one_by_one(registry: Registry, publish: Publish) -> None:
    """Twice goes back two; what was promoted after that is gone back to what stood before it."""
    for version in ("1-aa", "2-bb", "3-cc", "4-dd"):
        publish(registry, version)
    for version in ("1-aa", "2-bb", "3-cc"):
        promote(registry, version)
    assert rollback(registry)[1].version == "2-bb"
    shadow(registry, "4-dd")
    before, after = rollback(registry, reason="worse")
    assert (before.version, before.challenger) == ("2-bb", "4-dd")
    assert (after.version, after.challenger, after.action) == ("1-aa", None, "rollback")
    with pytest.raises(Fatal, match="nothing was served before 1-aa"):
        rollback(registry)
    promote(registry, "4-dd")
    assert rollback(registry)[1].version == "1-aa"
    assert [each.number for each in registry.log().entries] == list(range(1, 9))


def test_an_empty_registry_has_nothing_to_go_back_to(registry: Registry) -> None:
    """Nor anything to shadow or to promote."""
    with pytest.raises(Fatal, match="nothing was served yet"):
        rollback(registry)
    with pytest.raises(Fatal, match="nothing is served yet"):
        shadow(registry, None)
    with pytest.raises(UnknownVersion, match="there are: none"):
        promote(registry, "1-aa")


def test_of_another_format_it_is_said_how_to_go_on(
    faulty: Registry, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it, to serve it or to go back to it."""
    with monkeypatch.context() as earlier:
        earlier.setattr("assay_model.artifact.FORMAT", 1)
        old = publish(faulty, "1-aaa")
        promote(faulty, "1-aaa")
    publish(faulty, "2-bbb")
    promote(faulty, "2-bbb")
    said = r"format 1; this release reads \d+; `assay model promote VERSION`.*`assay model add`"
    with pytest.raises(ArtifactError, match=said):
        faulty.read(old)
    with pytest.raises(ArtifactError, match=said):
        rollback(faulty)


def test_nobody_goes_back_to_what_is_damaged(registry: Registry, publish: Publish) -> None:
    """It is refused, and says what else can be done; what is served stays."""
    publish(registry, "1-aa")
    publish(registry, "2-bb")
    promote(registry, "1-aa")
    _, current = promote(registry, "2-bb")
    put(registry.objects, f"{registry.root}versions/1-aa/model.npz", b"rubbish")
    with pytest.raises(ArtifactError, match=r"model\.npz is damaged.*assay model promote VERSION"):
        rollback(registry)
    assert registry.current() == current


def test_a_challenger_stays_until_it_is_ended_or_promoted(
    registry: Registry, publish: Publish
) -> None:
    """It survives the promotion of another version; the version that is served is none."""
    for version in ("1-aa", "2-bb", "3-cc"):
        publish(registry, version)
    promote(registry, "1-aa")
    _, after = shadow(registry, "3")
    assert (after.version, after.challenger) == ("1-aa", "3-cc")
    assert shadow(registry, "3-cc") == (after, after)
    with pytest.raises(Fatal, match="1-aa is served"):
        shadow(registry, "1-aa")
    assert promote(registry, "2-bb")[1].challenger == "3-cc"
    assert promote(registry, "3-cc")[1].challenger is None
    assert shadow(registry, "1-aa")[1].challenger == "1-aa"
    assert shadow(registry, None)[1].challenger is None
    assert standing(registry.log()) == ["1-aa", "2-bb", "3-cc"]


def test_categories_are_not_lost_unless_that_is_accepted(
    registry: Registry, publish: Publish
) -> None:
    """Neither those that are answered with now, nor records to services that know no new ones."""
    publish(registry, "1-aa", categories=("Rent", "Food", "Home", "Travel"))
    publish(registry, "2-bb", categories=("Food", "Travel", "Rent", "Cash & Fees"))
    publish(registry, "3-cc", categories=("Rent", "Food", "Home", "Travel", "Yachts"))
    promote(registry, "1-aa")
    with pytest.raises(
        OtherTaxonomy, match=r"2-bb lacks categories of what is served: Home; --accept"
    ):
        promote(registry, "2-bb")
    with pytest.raises(OtherTaxonomy, match="services of this release reject: Yachts; --accept"):
        promote(registry, "3-cc")
    assert promote(registry, "2-bb", accept_taxonomy=True)[1].version == "2-bb"


def test_an_entry_that_is_damaged_is_named(registry: Registry, publish: Publish) -> None:
    """Nothing is guessed from what stood before it; an empty one never came to be."""
    publish(registry, "1-aa")
    _, first = promote(registry, "1-aa")
    publish(registry, "2-bb")
    put(registry.objects, f"{registry.root}promotions/00000002.json", b"")
    assert registry.current() == first
    assert promote(registry, "2-bb")[1].number == 3
    whole = json.dumps({**first.model_dump(mode="json"), "number": 5}).encode()
    for number, content in ((4, whole[:-9]), (6, whole)):
        uri = f"{registry.root}promotions/{number:08}.json"
        put(registry.objects, uri, content)
        with pytest.raises(Fatal, match=f"{number:08}.json is damaged"):
            registry.current()
        with pytest.raises(Fatal, match="json is damaged"):
            registry.log()


def test_an_object_that_is_replaced_meanwhile_is_read_anew(
    faulty: Registry, memory: MemoryObjects, publish: Publish
) -> None:
    """As a local file that has its name before its content; what is replaced for ever is told."""
    publish(faulty, "1-aa")
    promote(faulty, "1-aa")
    memory.faults.plan("read", Replaced("replaced"), Replaced("replaced"))
    assert faulty.current() == faulty.log().current
    memory.faults.plan("read", *[Replaced("replaced") for _ in range(3)])
    with pytest.raises(Replaced):
        faulty.current()


@pytest.mark.parametrize("point", ["list", "read", "write", "move", "move.done"])
def test_a_registry_that_is_away_is_temporary(
    faulty: Registry, memory: MemoryObjects, publish: Publish, point: str
) -> None:
    """Whatever fails, the same command may be run again, and then holds."""
    publish(faulty, "1-aa")
    memory.faults.plan(point, Unavailable("away"))
    with pytest.raises(AssayError) as away:
        promote(faulty, "1-aa")
    assert away.value.exit_code == TEMPORARY
    promote(faulty, "1-aa")
    current = faulty.current()
    assert current is not None
    assert (current.version, current.number) == ("1-aa", 1)
