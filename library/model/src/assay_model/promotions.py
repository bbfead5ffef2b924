"""What is served next: decisions about the log of a registry, each of which is one entry more.

All of them read the artifacts that they name from end to end first: what cannot be loaded is never
promoted.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from assay.domain.errors import Fatal
from assay.domain.taxonomy import DEFAULT
from assay_model.registry import Log, Manifest, Promotion, Registry


class OtherTaxonomy(Fatal):
    """A version lacks categories that are answered with now, or has some that services reject."""


def promote(
    registry: Registry,
    version: str,
    *,
    at: datetime,
    by: str,
    reason: str | None = None,
    accept_taxonomy: bool = False,
) -> tuple[Promotion | None, Promotion]:
    """Has a version served. A challenger stays one, unless it is the version itself.

    Returns:
        What held before, and what holds now: the same where the version is served already.

    Raises:
        UnknownVersion: there is no such version.
        ArtifactError: it is damaged.
        OtherTaxonomy: it lacks categories of the one that is served, or has some that the services
            of this release reject, and neither is accepted.
        Overtaken: somebody else promoted in between.
    """
    manifest = _usable(registry, version)
    log = registry.log()
    before = log.current
    if before is not None and before.version == manifest.version:
        return before, before
    if not accept_taxonomy:
        _require_categories(registry, before, manifest)
    challenger = before.challenger if before else None
    return before, _appended(
        registry,
        Promotion(
            number=log.next,
            action="promote",
            version=manifest.version,
            challenger=None if challenger == manifest.version else challenger,
            at=at,
            by=by,
            reason=reason,
        ),
    )


def rollback(
    registry: Registry, *, at: datetime, by: str, reason: str | None = None
) -> tuple[Promotion, Promotion]:
    """Has the version served that was served before; once more, the one before that.

    The challenger is dropped: what is served is to be left alone.

    Returns:
        What held before, and what holds now.

    Raises:
        Fatal: nothing was served before.
        ArtifactError: what was served before is damaged.
        Overtaken: somebody else promoted in between.
    """
    log = registry.log()
    before = log.current
    served = standing(log)
    if before is None or len(served) == 1:
        served_now = f"before {before.version}" if before else "yet"
        raise Fatal(f"nothing was served {served_now}: `assay model promote VERSION` names one")
    earlier = _usable(registry, served[-2])
    return before, _appended(
        registry,
        Promotion(
            number=log.next,
            action="rollback",
            version=earlier.version,
            challenger=None,
            at=at,
            by=by,
            reason=reason,
        ),
    )


def shadow(
    registry: Registry, challenger: str | None, *, at: datetime, by: str, reason: str | None = None
) -> tuple[Promotion, Promotion]:
    """Has a version asked the same as the one that is served, or, given None, none any more.

    Returns:
        What held before, and what holds now: the same where that is so already.

    Raises:
        Fatal: nothing is served, or the version itself is.
        UnknownVersion: there is no such version.
        ArtifactError: it is damaged.
        Overtaken: somebody else promoted in between.
    """
    version = None if challenger is None else _usable(registry, challenger).version
    log = registry.log()
    before = log.current
    if before is None:
        raise Fatal("nothing is served yet: `assay model promote VERSION` names one")
    if version == before.version:
        raise Fatal(f"{version} is served; a challenger is another one")
    if version == before.challenger:
        return before, before
    return before, _appended(
        registry,
        Promotion(
            number=log.next,
            action="shadow",
            version=before.version,
            challenger=version,
            at=at,
            by=by,
            reason=reason,
        ),
    )


def standing(log: Log) -> Sequence[str]:
    """The versions that roll-backs would lead through, the one that is served last."""
    served: list[str] = []
    for each in log.entries:
        if each.action == "rollback":
            while served and served[-1] != each.version:
                served.pop()
        if not served or served[-1] != each.version:
            served.append(each.version)
    return served


def way_back(registry: Registry) -> str | None:
    """The version that a roll-back would have served now; None where it would fail."""
    served = standing(registry.log())
    if len(served) > 1:
        with suppress(Fatal):
            return _usable(registry, served[-2]).version
    return None


def _usable(registry: Registry, version: str) -> Manifest:
    manifest = registry.manifest(version)
    registry.read(manifest)
    return manifest


def _require_categories(registry: Registry, before: Promotion | None, manifest: Manifest) -> None:
    categories = set(manifest.taxonomy.categories)
    objections: list[str] = []
    if strange := sorted(categories.difference(DEFAULT.categories)):
        objections.append(
            f"answers with categories that services of this release reject: {', '.join(strange)}"
        )
    served = _served(registry, before)
    if lacking := [each for each in served if each not in categories]:
        objections.append(f"lacks categories of what is served: {', '.join(lacking)}")
    if objections:
        raise OtherTaxonomy(
            f"{manifest.version} {', and '.join(objections)}; "
            "--accept-taxonomy promotes it all the same"
        )


def _served(registry: Registry, current: Promotion | None) -> Sequence[str]:
    """The categories that are answered with; none where that cannot be found out any more."""
    if current is not None:
        with suppress(Fatal):
            return registry.manifest(current.version).taxonomy.categories
    return ()


def _appended(registry: Registry, promotion: Promotion) -> Promotion:
    registry.append(promotion)
    return promotion
