"""Starts the service."""

import errno
import signal
import socket
import sys
from types import FrameType

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay_ml_api import bootstrap
from assay_ml_api.config import ServerConfig

_log = structlog.stdlib.get_logger(__name__)


def main() -> None:
    """Serves until it is told to stop; exits 0, 75 (the address is in use) or 78 (settings)."""
    # The server repeats the signal that ended it, which would then end the process as a failure.
    signal.signal(signal.SIGTERM, _end)
    try:
        serve()
    except AssayError as error:
        sys.exit(_say(error))
    except KeyboardInterrupt:
        pass


def serve() -> None:
    """Serves the model API as its settings say.

    Raises:
        Fatal: the settings or the model are wrong, or it may not listen where they say.
        Unavailable: the address is in use.
    """
    config = bootstrap.settings().server
    app = bootstrap.application()
    listener = _listen(config)
    host, port = listener.getsockname()[:2]
    _log.info("listening", host=host, port=port, workers=config.workers)
    options = uvicorn.Config(
        app if config.workers == 1 else "assay_ml_api.bootstrap:application",
        factory=config.workers > 1,
        workers=config.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep an idle connection
        timeout_graceful_shutdown=config.shutdown_timeout,
    )
    with listener:
        if config.workers == 1:
            uvicorn.Server(options).run(sockets=[listener])
        else:
            Multiprocess(options, [listener]).run()


def _listen(config: ServerConfig) -> socket.socket:
    where = f"{config.host}:{config.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"{where} is in use: stop what listens there, or set ASSAY_SERVER__PORT"
            ) from None
        raise Fatal(
            f"cannot listen on {where} ({error.strerror}): "
            "set ASSAY_SERVER__HOST and ASSAY_SERVER__PORT"
        ) from None
    listener.set_inheritable(True)
    return listener


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame


def _say(error: AssayError) -> int:
    sys.stderr.write(f"assay-ml-api: {error}\n")
    return error.exit_code
