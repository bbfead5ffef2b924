"""Commands in processes that begin within milliseconds: a fork server has imported them already."""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal

FORKS: Final = multiprocessing.get_context("forkserver")
"""Where processes begin within milliseconds: all that commands import is there already."""

FORKS.set_forkserver_preload(
    [
        "assay_adapters.environment.sections",
        "assay_adapters.postgres.discard",
        "assay_adapters.postgres.imports",
        "assay_adapters.postgres.lookup",
        "assay_adapters.postgres.reconcile",
        "assay_adapters.postgres.selection",
        "assay_adapters.postgres.transactions",
        "assay_batch.cli",
        "assay_batch.command",
        "assay_cli.dead_letters",
        "assay_cli.import_run",
        "assay_cli.main",
        "assay_cli.reconcile",
        "assay_cli.redrive_run",
        "assay_cli.rescore_run",
        "assay_streaming.cli",
        "assay_streaming.consumer",
        "assay_streaming.dead_letter_command",
    ]
)
_MODULES: Final = {
    "batch": "assay_batch.cli",
    "cli": "assay_cli.main",
    "streaming": "assay_streaming.cli",
}
_HERE: Final = Path(__file__).parent
_NOWHERE: Final = Path(os.devnull)


def _run(
    service: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(_HERE)  # where no .env is
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [f"assay-{service}", *arguments]
    importlib.import_module(_MODULES[service]).main()


def start(
    service: Literal["batch", "cli", "streaming"],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    out: Path = _NOWHERE,
    err: Path = _NOWHERE,
) -> BaseProcess:
    """Starts a command of a service, as in its image, or of `assay`.

    Args:
        service: whose; `cli` for `assay`.
        arguments: its command line.
        environment: all that it is to have.
        out: where standard output goes.
        err: where standard error goes.
    """
    process = FORKS.Process(
        target=_run, args=(service, list(arguments), dict(environment), out, err)
    )
    process.start()
    return process
