"""The commands `assay model list`, `add`, `promote`, `rollback`, `shadow` and `history`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Column
from rich.text import Text

from assay_modelling import bootstrap
from assay_modelling.options import Json
from assay_modelling.output import print_json, say, show, table

if TYPE_CHECKING:
    from assay_model.artifact import ArtifactError
    from assay_model.registry import Manifest, Promotion, Registry

_MEASURED: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "calibration_error": "cal. error",
}

_Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="As `assay model list` shows it; its beginning will do if unique."
    ),
]
_Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept.")]
_By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who; unless given, who is logged in here.")
]


def list_(*, as_json: Json = False) -> None:
    """List the versions of the model, and say which one is served.

    The figures are those of the training: what a version was measured on, `assay
    model info VERSION` says; macro-F1 is over the categories with 20 rows or
    more there. One that cannot be served here, as of another release, is said
    to be unusable, if it is to be served. Without a registry (ASSAY_MODELS__REGISTRY) the
    model that comes with Assay is served, and stands here alone.

    Examples:
      assay model list
      assay model list --json

    Exit codes: 0 done, also where there are none; 75 the registry is away, 78
    settings are wrong.
    """
    from assay_model.registry import Manifest

    registry = bootstrap.registry_named()
    if registry is None:
        shipped = _shipped()
        versions: Mapping[str, Any] = {shipped.version: shipped}
        current, states = None, {shipped.version: "served"}
    else:
        versions, current = registry.versions(), registry.current()
        states = _states(current)
    rows = [
        _row(version, each if isinstance(each, Manifest) else None, states.get(version))
        | {"problem": _problem(registry, each, is_wanted=version in states)}
        for version, each in versions.items()
    ]
    root = None if registry is None else registry.root
    if as_json:
        promotion = None if current is None else current.model_dump(mode="json")
        print_json({"registry": root, "promotion": promotion, "versions": rows})
        return
    if root is None:
        say("No registry is named (ASSAY_MODELS__REGISTRY); this one comes with Assay.\n")
    elif not rows:
        say(f"No version in {root}; `assay model add FILE` puts one there.")
    if rows:
        _show(rows)
    for problem in [row["problem"] for row in rows if row["problem"]]:
        say(f"\n{problem}")
    if root is not None and rows:
        say(f"\n{_standing(current)}")
    if missing := sorted(states.keys() - versions.keys()):
        say(f"Not in the registry: {', '.join(missing)}.")


def add(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A model file; unless given, the one that comes with Assay."
        ),
    ] = None,
    *,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Put a model into the registry; nothing is served by that.

    The file is read from end to end first. The same file again changes nothing,
    and another file of the same version is refused.

    Examples:
      assay model train --data data/ --out model.npz
      assay model add model.npz

    Exit codes: 0 it is there; 65 another artifact has this version; 75 the
    registry is away, 78 the file is damaged, or settings are wrong.
    """
    from assay_model.artifact import SHIPPED
    from assay_model.registry import described
    from assay_modelling.chosen import from_file

    found = from_file(file or SHIPPED)
    registry = bootstrap.registry(make=True)
    manifest = described(found.artifact, found.content, at=_now(), by=by or bootstrap.user())
    is_new = registry.publish(found.content, manifest)
    version = manifest.version
    if as_json:
        print_json({"version": version, "new": is_new, "registry": registry.root})
    elif is_new:
        say(f"{version} is in {registry.root}; it is not served yet.")
        say(f"`assay model promote {version}` has it served.")
    else:
        say(f"{version} was in {registry.root} already; nothing was changed.")


def promote(
    version: _Version,
    *,
    reason: _Reason = None,
    accept_taxonomy: Annotated[
        bool,
        typer.Option(
            "--accept-taxonomy",
            help="Also if it lacks categories of the one that is served, or has some that services"
            " of this release reject.",
        ),
    ] = False,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Have a version served.

    Model APIs that run take it up within ASSAY_MODELS__POLL seconds, without
    dropping a call. What cannot be loaded is not promoted.

    Example:
      assay model promote 1-3f9a --reason "better on merchants never seen"

    Exit codes: 0 it is served; 75 the registry is away, or somebody else has
    promoted at the same moment; 78 there is no such version, it is damaged or
    lacks categories, or settings are wrong.
    """
    from assay_model import promotions

    registry = bootstrap.registry()
    before, after = promotions.promote(
        registry,
        version,
        at=_now(),
        by=by or bootstrap.user(),
        reason=reason,
        accept_taxonomy=accept_taxonomy,
    )
    _tell(registry, before, after, as_json=as_json)


def rollback(*, reason: _Reason = None, by: _By = None, as_json: Json = False) -> None:
    """Have the version served again that was served before.

    Once more goes back one further. A challenger is dropped.

    Example:
      assay model rollback --reason "too many reviews since noon"

    Exit codes: 0 it is served; 75 the registry is away, or somebody else has
    promoted at the same moment; 78 nothing was served before, or it is damaged,
    or settings are wrong.
    """
    from assay_model import promotions

    registry = bootstrap.registry()
    before, after = promotions.rollback(
        registry, at=_now(), by=by or bootstrap.user(), reason=reason
    )
    _tell(registry, before, after, as_json=as_json)


def shadow(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The challenger; may be abbreviated.")
    ] = None,
    *,
    end: Annotated[bool, typer.Option("--end", help="Have no challenger any more.")] = False,
    reason: _Reason = None,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Have a challenger asked the same as the version that is served.

    Its answers go nowhere. Model APIs count where it agrees and where it does
    not, in assay_api_shadow_records_total, and it delays nobody.

    Examples:
      assay model shadow 1-3f9a
      assay model shadow --end

    Exit codes: 0 done; 75 the registry is away, or somebody else has promoted at
    the same moment; 78 there is no such version, it is damaged or served, or
    settings are wrong.
    """
    from assay_model import promotions

    if (version is not None) == end:
        raise typer.BadParameter("name a version, or --end", param_hint="VERSION")
    registry = bootstrap.registry()
    before, after = promotions.shadow(
        registry, version, at=_now(), by=by or bootstrap.user(), reason=reason
    )
    _tell(registry, before, after, as_json=as_json)


def history(
    *,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many of the latest are shown.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show what was promoted when, by whom and why; the latest stands last.

    Nothing is ever deleted from it.

    Example:
      assay model history --limit 5

    Exit codes: 0 done, also where there is none; 75 the registry is away, 78
    settings are wrong.
    """
    entries = bootstrap.registry().log().entries[-limit:]
    if as_json:
        print_json([each.model_dump(mode="json") for each in entries])
        return
    if not entries:
        say(_standing(None))
        return
    shown = table(
        Column("", justify="right", no_wrap=True),
        Column("at (UTC)", no_wrap=True),
        Column("action", no_wrap=True),
        Column("served", overflow="fold"),
        Column("challenger", overflow="fold"),
        Column("by", overflow="fold"),
        Column("reason", overflow="fold"),
    )
    for each in entries:
        cells = (each.version, each.challenger, each.by, each.reason)
        shown.add_row(
            str(each.number), _minute(each.at), each.action, *(Text(cell or "") for cell in cells)
        )
    show(shown)


def _tell(
    registry: "Registry", before: "Promotion | None", after: "Promotion", *, as_json: bool
) -> None:
    """Says what was done, where, and how it is undone."""
    from assay_model import promotions

    if as_json:
        promotion = after.model_dump(mode="json")
        print_json({"registry": registry.root, "changed": before != after, "promotion": promotion})
        return
    if before == after:
        say(f"Nothing was changed. {_told(after)}")
        return
    if before is None or before.version != after.version:
        instead = "" if before is None else f", {before.version} no longer"
        say(f"{after.version} is served from now on{instead} (promotion {after.number}).")
        say(f"Model APIs that follow {registry.root} take it up at their next look.")
        say("One of `assay up` that follows another registry, or none, needs `assay up` again.")
        if after.action == "promote" and (earlier := promotions.way_back(registry)):
            say(f"`assay model rollback` goes back to {earlier}.")
    if (ended := before and before.challenger) and ended != after.challenger:
        say(f"{ended} is no challenger any more.")
    if after.challenger:
        verb = "is asked the same"
        say(f"{after.challenger} {verb} as {after.version}, and their answers are compared.")


def _standing(current: "Promotion | None") -> str:
    if current is None:
        return "None is served yet; `assay model promote VERSION` has one served."
    return _told(current)


def _told(promotion: "Promotion") -> str:
    since = f"{promotion.version} is served (promotion {promotion.number}, {promotion.action}"
    told = f"{since}, {_minute(promotion.at)} UTC, by {promotion.by})"
    if promotion.challenger:
        told += f"; {promotion.challenger} shadows it"
    return told + (f": {promotion.reason}" if promotion.reason else ".")


def _shipped() -> "Manifest":
    """What comes with the package, as if it had been published."""
    from assay_model.artifact import SHIPPED
    from assay_model.registry import described
    from assay_modelling.chosen import from_file

    found = from_file(SHIPPED)
    written = datetime.fromtimestamp(SHIPPED.stat().st_mtime, UTC)
    return described(found.artifact, found.content, at=written, by="assay")


def _problem(
    registry: "Registry | None", found: "Manifest | ArtifactError", *, is_wanted: bool
) -> str | None:
    """Why a version cannot be served; of one that nobody asks, its manifest alone is looked at."""
    from assay_model.artifact import ArtifactError

    if isinstance(found, ArtifactError):
        return str(found)
    if registry is not None and is_wanted:
        try:
            registry.read(found)
        except ArtifactError as error:
            return str(error)
    return None


def _states(current: "Promotion | None") -> dict[str, str]:
    if current is None:
        return {}
    shadows = {current.challenger: "shadows"} if current.challenger else {}
    return shadows | {current.version: "served"}


def _row(version: str, manifest: "Manifest | None", state: str | None) -> dict[str, Any]:
    known = {} if manifest is None else manifest.model_dump(mode="json")
    return {"version": version, "state": state} | known


def _show(rows: list[dict[str, Any]]) -> None:
    figures = [Column(each, justify="right", no_wrap=True) for each in _MEASURED.values()]
    versions = table(
        Column("version", no_wrap=True),
        Column("state", no_wrap=True),
        *figures,
        Column("published (UTC)", no_wrap=True),
        Column("by", overflow="ellipsis", no_wrap=True),
    )
    for row in rows:
        if "metrics" not in row:
            versions.add_row(row["version"], "damaged")
            continue
        measured = row["metrics"].get("all rows", {})
        versions.add_row(
            row["version"],
            "unusable" if row["problem"] else row["state"] or "",
            *("" if measured.get(each) is None else f"{measured[each]:.3f}" for each in _MEASURED),
            _minute(datetime.fromisoformat(row["at"])),
            Text(row["by"]),
        )
    show(versions)


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _now() -> datetime:
    return datetime.now(UTC)
