"""Commands in processes that begin within milliseconds: a fork server has imported them already."""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal

_PRELOADED: Final = [
    "assay_batch.cli",
    "assay_batch.command",
    "assay_streaming.cli",
    "assay_streaming.consumer",
]
_NOWHERE: Final = Path(os.devnull)


def _run(
    service: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
) -> None:
    os.environ.update(environment)
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [f"assay-{service}", *arguments]
    importlib.import_module(f"assay_{service}.cli").main()


def start(
    service: Literal["batch", "streaming"],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    out: Path = _NOWHERE,
    err: Path = _NOWHERE,
) -> BaseProcess:
    """Starts a command of a service, as in its image.

    Args:
        service: whose.
        arguments: its command line.
        environment: its settings.
        out: where standard output goes.
        err: where standard error goes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(
        target=_run, args=(service, list(arguments), dict(environment), out, err)
    )
    process.start()
    return process
