"""The command `assay top`."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from assay.domain.errors import DONE, NOTHING_TO_DO, TEMPORARY, Fatal, Unavailable
from assay_cli import bootstrap
from assay_cli.bootstrap import Sources
from assay_cli.output import Json, print_json
from assay_cli.picture import Picture, drawn
from assay_cli.services import Reading, Service, Stranger, distinct, facts, lags, unread

_EVERY: Final = 1.0  # seconds between two looks
_SELDOM: Final = 5.0  # and between two counts of the letters
_AT_ONCE: Final = 16  # services that are asked


def top(
    *,
    url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Look at the service that tells its health and metrics there, and at no others,"
            " as http://127.0.0.1:9400. May be repeated. PostgreSQL is not needed then.",
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Print one picture, after a second that rates are taken over."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how the streaming services get on: rates, doors, lag, breakers, window.

    The picture changes every second until Ctrl-C. Where standard output is no
    terminal it is printed once, and with --json as well.

    Services are found by the table `runs`, where each notes its address; a
    classifier, or a connector that needs no PostgreSQL, notes none: --url. One that
    does not answer is shown as `silent` for a minute, or for two after its start,
    and then left out: it was killed, and its run stays open. How many these are
    stands below, for a day. What --url names is never left out.

    Rates are those of the last five seconds. Doors count since the service began.

    Examples:
      assay top
      assay top --url http://10.0.0.7:9400 --url http://10.0.0.8:9400
      assay top --once --json

    Exit codes: 0 shown; 75 PostgreSQL is away at the start or, once, none of the
    services answers; 78 settings are wrong or `assay migrate` is due; 99 once,
    and no streaming service runs.
    """
    with bootstrap.watching(url or ()) as sources, ThreadPoolExecutor(_AT_ONCE) as pool:
        board = Board(sources, pool)
        if once or as_json or not sys.stdout.isatty():
            raise typer.Exit(_one(board, as_json=as_json))
        try:
            with bootstrap.on_signal(bootstrap.interrupt):
                _for_ever(board)
        except KeyboardInterrupt:
            raise typer.Exit(DONE) from None


def _one(board: "Board", *, as_json: bool) -> int:
    board.look()
    if board.answering:
        time.sleep(_EVERY)
        board.look()
    picture = board.picture(wait=True)
    if as_json:
        print_json(document(picture))
    else:
        Console(highlight=False).print(drawn(picture))
    if any(not each.is_silent for each in picture.services):
        return DONE
    return TEMPORARY if picture.services else NOTHING_TO_DO


def _for_ever(board: "Board") -> None:
    board.look()
    with Live(drawn(board.picture()), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(_EVERY)
            board.look()
            live.update(drawn(board.picture()), refresh=True)


def document(picture: Picture) -> dict[str, Any]:
    """The picture as JSON has it."""
    shown = [facts(each) for each in picture.services]
    return {
        "at": picture.at.isoformat(timespec="seconds"),
        "services": shown,
        "lag": [asdict(each) for each in lags(picture.services)],
        "unread": unread(picture.services),
        "letters": picture.letters,
        "left_out": picture.left_out,
        "notes": list(picture.notes),
    }


class Board:
    """All services, from look to look."""

    def __init__(self, sources: Sources, pool: ThreadPoolExecutor) -> None:
        self._sources, self._pool = sources, pool
        self._services: dict[str, Service] = {}
        self._is_first = True
        self._note: str | None = None
        self._strangers: list[str] = []
        self._counting: Future[Mapping[str, int]] | None = None
        self._counted = float("-inf")
        self._letters: Mapping[str, int] | None = None

    @property
    def answering(self) -> bool:
        """Whether any service has answered the last look."""
        return any(not each.is_silent for each in self._services.values())

    def look(self) -> None:
        """Asks all services, all at once.

        Raises:
            Unavailable: PostgreSQL is away, and this is the first look.
            Fatal: the settings or tables are wrong.
        """
        try:
            found = {each.url: each for each in distinct(self._sources.named())}
        except Unavailable as error:
            if self._is_first:
                raise
            self._note = str(error)
        else:
            self._note = None
            self._services = {
                url: self._services.get(url, Service(each)) for url, each in found.items()
            }
            for url, each in found.items():
                self._services[url].named = each
        self._is_first = False
        asked = {url: self._pool.submit(self._sources.ask, url) for url in self._services}
        self._strangers = [
            said for url, answer in asked.items() if (said := _note(self._services[url], answer))
        ]
        if self._sources.letters is not None and time.monotonic() > self._counted + _SELDOM:
            self._count(self._sources.letters)

    def _count(self, letters: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Begins to count; what takes long holds nothing up."""

        def count() -> Mapping[str, int]:
            found = Counter[str](dict.fromkeys(("open", "closed", "discarded"), 0))
            for row in letters():
                found[row["state"]] += row["letters"]
            return dict(found)

        if self._counting is None or self._counting.done():
            self._counted = time.monotonic()
            self._counting = self._pool.submit(count)

    def picture(self, *, wait: bool = False) -> Picture:
        """How all stands.

        Args:
            wait: until the letters are counted.
        """
        notes = [self._note] if self._note else self._strangers
        if self._counting is not None and (wait or self._counting.done()):
            try:
                self._letters = self._counting.result()
            except (Unavailable, Fatal) as error:
                self._letters = None
                notes = notes or [str(error)]
        now = time.monotonic()
        shown = [each for each in self._services.values() if not each.is_gone(now)]
        gone = [each for each in self._services.values() if each.is_gone(now)]
        return Picture(
            at=self._sources.now(),
            services=sorted(shown, key=_order),
            letters=self._letters,
            left_out=sum(not each.is_forgotten for each in gone),
            notes=notes,
        )


def _note(service: Service, answer: "Future[Reading]") -> str | None:
    """Notes what a service has said; returns what people are told if it is none."""
    try:
        service.heard(answer.result())
    except Unavailable as error:
        service.missed()
        return str(error) if isinstance(error, Stranger) else None
    return None


def _order(service: Service) -> tuple[str, str, str]:
    return service.named.kind or "", service.named.host or "", service.named.url
