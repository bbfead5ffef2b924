"""Asks services for what `server` tells."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import httpx

from assay.domain.errors import Unavailable

_SECONDS: Final = 1.0  # that a service is waited for, whatever it does
_BYTES: Final = 4 << 20  # of an answer that are read


class Told(NamedTuple):
    """What a service has told.

    Attributes:
        is_ready: whether it does its work just now.
        facts: what explains that.
        metrics: all values, as text.
    """

    is_ready: bool
    facts: Mapping[str, Any]
    metrics: str


class StatusClient:
    """Asks within seconds. Safe to use from several threads.

    Proxies and credentials of the environment do not count.
    """

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=_SECONDS, trust_env=False)

    def ask(self, url: str) -> Told:
        """What the service at this address tells of itself.

        Raises:
            Unavailable: it does not answer in time, or not as such a service does.
        """
        try:
            status, ready = self._get(f"{url}/health/ready")
            facts = json.loads(ready)
            _, metrics = self._get(f"{url}/metrics")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{url} does not answer: {type(error).__name__}") from None
        except ValueError:  # no JSON, no UTF-8
            facts, status, metrics = None, httpx.codes.OK, ""
        if not isinstance(facts, dict):
            raise Unavailable(f"{url} is no service of Assay")
        return Told(status == httpx.codes.OK, cast(dict[str, Any], facts), metrics)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _get(self, url: str) -> tuple[int, str]:
        until = time.monotonic() + _SECONDS
        body = bytearray()
        with self._client.stream("GET", url) as response:
            for block in response.iter_bytes():
                body += block
                if time.monotonic() > until or len(body) > _BYTES:
                    raise httpx.ReadTimeout("it goes on and on", request=response.request)
        return response.status_code, body.decode()
