"""Starts the service."""

import errno
import signal
import socket
import ssl
import sys
from types import FrameType

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay_ml_api import bootstrap
from assay_ml_api.config import ServerConfig
from assay_ml_api.heads import BoundedHeads

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
    _require_certificate(config)
    app = bootstrap.application()
    listener = _listen(config)
    host, port = listener.getsockname()[:2]
    tls = config.certificate is not None
    _log.info("listening", host=host, port=port, tls=tls, workers=config.workers)
    options = uvicorn.Config(
        app if config.workers == 1 else "assay_ml_api.bootstrap:application",
        factory=config.workers > 1,
        workers=config.workers,
        http=BoundedHeads,
        ssl_certfile=config.certificate,
        ssl_keyfile=config.certificate_key,
        ssl_keyfile_password="",  # one that has a password would ask for it on the terminal
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


def _require_certificate(config: ServerConfig) -> None:
    """That TLS can be made: uvicorn would end with a traceback.

    Raises:
        Fatal: the certificate, or its key, cannot be used.
    """
    if config.certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.certificate, config.certificate_key, password=""
        )
    except OSError as error:
        said = (isinstance(error, ssl.SSLError) and error.reason) or error.strerror
        raise Fatal(
            f"{config.certificate} and its key cannot be used ({said}): check"
            " ASSAY_SERVER__CERTIFICATE and ASSAY_SERVER__CERTIFICATE_KEY"
        ) from None


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
