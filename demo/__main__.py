"""The main jobs on real servers: records become classified rows, and the books balance.

Everything runs on this machine and ends with the demo; nothing is left behind.
"""

import argparse
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel

from assay_local import Local, LocalError, servers
from demo import batch, fan_out, stream
from demo.steps import DemoFailed, assay, console

_NEXT = """\
[bold]uv run assay up[/]                            the servers, to stay
[bold]uv run assay migrate[/]                       the tables
[bold]uv run assay contract new FILE.csv --out FILE.odcs.yaml[/]
  drafts how it is written: decide what is marked, then set status: active
[bold]uv run assay batch run FILE.csv --contract FILE.odcs.yaml[/]
[bold]uv run assay stream topics[/]                 and then, each in a terminal:
[bold]uv run assay stream produce[/]                invented transactions
[bold]uv run assay stream consume[/]                classifies what is on the topic
[bold]uv run assay top[/]                           how it gets on
[bold]uv run assay dead-letters list[/]             what was rejected, and why
[bold]uv run assay down --wipe[/]                   all gone"""


def main() -> int:
    """Runs the demo; returns its exit code."""
    parser = argparse.ArgumentParser(prog="poe demo", description=__doc__)
    halves = parser.add_mutually_exclusive_group()
    halves.add_argument("--batch", action="store_true", help="files only")
    halves.add_argument("--stream", action="store_true", help="the stream only")
    halves.add_argument("--fan-out", action="store_true", help="one stream to four targets instead")
    asked = parser.parse_args()
    console.rule("[bold]Assay[/]: every record leaves through exactly one door")
    names = ["postgres", "api"]
    names += [] if asked.stream else ["s3"]
    names += [] if asked.batch else ["kafka"]
    try:
        with _started(names) as (local, environment):
            assay(environment, "migrate")
            if asked.fan_out:
                fan_out.show(environment)
            else:
                _show_halves(asked, environment, local)
            console.print(Panel.fit(_NEXT, title="Try next", border_style="green"))
    except (DemoFailed, LocalError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        return 130
    return 0


def _show_halves(asked: argparse.Namespace, environment: Mapping[str, str], local: Local) -> None:
    if not asked.stream:
        batch.show(environment)
    if not asked.batch:
        console.print()
        stream.show(environment, local)


_CALLED = {
    "postgres": "PostgreSQL",
    "s3": "S3 (an emulator)",
    "kafka": "Kafka",
    "api": "the model API",
}


@contextmanager
def _started(names: list[str]) -> Generator[tuple[Local, Mapping[str, str]]]:
    """These servers, and what commands read to find them."""
    called = [text for name, text in _CALLED.items() if name in names]
    which = f"{', '.join(called[:-1])} and {called[-1]}"
    with servers(durable=False, environment={}) as local:
        with console.status(f"Starting {which} …"):
            local.start(*names)
        console.print(f"Running here: {which}.\n")
        # Whatever servers the environment names are the user's own, and no place for a demo.
        own = {name: each for name, each in os.environ.items() if not name.startswith("ASSAY_")}
        yield local, {**own, **local.settings}


if __name__ == "__main__":
    sys.exit(main())
