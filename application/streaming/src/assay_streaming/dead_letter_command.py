"""What `dead-letters` does between its options and its exit code."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from assay.pipeline.pump import Policy
from assay_streaming import bootstrap
from assay_streaming import dead_letters as service
from assay_streaming.ending import overridden, to_the_end, until_its_end

_PATIENCE: Final = 60.0  # seconds that a dependency may be away where it is done once


def dead_letters(*, overrides: Mapping[str, Any], retry: bool, once: bool) -> int:
    """Publishes and retries as the options of `assay_streaming.cli` say.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    kind = bootstrap.ConsumerSettings if retry else bootstrap.BookSettings
    settings = overridden(bootstrap.read(kind), overrides)
    stream = settings.stream
    request = service.Request(
        run_id=str(uuid4()),
        max_attempts=stream.max_attempts,
        retry_delay=timedelta(seconds=stream.retry_delay),
        policy=Policy(
            window_chunks=stream.window_chunks,
            window_bytes=stream.window_mib << 20,
            patience=_PATIENCE if once else None,
        ),
        once=once,
    )
    result = service.Result(request.run_id)

    def act() -> None:
        with (
            bootstrap.dead_letter_service(request, settings, result) as services,
            until_its_end(result),
        ):
            service.dead_letters(request, services, result)

    return to_the_end(act, result)
