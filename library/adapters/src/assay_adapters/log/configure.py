"""One log for structlog and for libraries that use the standard library's logging."""

import logging
import sys

import structlog

_TRACEBACKS = structlog.processors.ExceptionRenderer(
    # A local variable may hold what no log line may.
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure(level: str = "info") -> None:
    """Writes the log to standard error: a JSON object a line, or for people on a terminal.

    May be called again; the last call counts.

    Args:
        level: the least severe level that is written, as `assay_adapters.log.config` names them.
    """
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _without_colours, *shared],
        )
    )
    handler.addFilter(_is_ours_or_no_detail)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # httpx logs every request, with its address, at the level of our own events; Alembic each look
    # at the tables' version.
    for name in ("httpx", "httpx2", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _is_ours_or_no_detail(record: logging.LogRecord) -> bool:
    """Whether a line may be written: in theirs for debugging libraries tell what they send.

    Botocore's have the tokens that requests are made with.
    """
    return record.levelno > logging.DEBUG or record.name.startswith("assay")


def _without_colours(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Uvicorn says everything twice, once for terminals."""
    event.pop("color_message", None)
    return event
