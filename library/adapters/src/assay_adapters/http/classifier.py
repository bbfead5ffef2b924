"""The model API as a classifier."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import httpx
import polars as pl

from assay.domain.errors import Fatal, Unavailable
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.wire import arrow, json
from assay_adapters.http.answers import read_json, verdicts
from assay_adapters.http.config import ApiConfig
from assay_adapters.http.exchange import Exchange
from assay_adapters.http.statuses import Health, error_of, health_of

JSON: Final = "application/json"

_CONTENT_TYPES: Final = {"arrow": arrow.CONTENT_TYPE, "json": JSON}
_WRITERS: Final[dict[str, Callable[[pl.DataFrame], bytes]]] = {
    "arrow": arrow.write_transactions,
    "json": json.write_transactions,
}
_READERS: Final[dict[str, Callable[[bytes], pl.DataFrame]]] = {
    arrow.CONTENT_TYPE: arrow.read_verdicts,
    JSON: read_json,
}
_OTHER_FORMAT_PLEASE: Final = {406, 415}


class HttpClassifier:
    """Asks the model API, one call an attempt, over connections that are kept.

    Safe to use from several threads. Proxies and credentials of the environment do not count.
    """

    def __init__(
        self,
        config: ApiConfig,
        taxonomy: Taxonomy = DEFAULT,
        trace: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Connects at the first call.

        Args:
            config: how the API is reached.
            taxonomy: that it is to speak.
            trace: headers of a request that is made just now.
        """
        self._taxonomy = taxonomy
        self._format: Literal["arrow", "json"] = config.format
        key = config.api_key
        self._api = Exchange(
            str(config.url),
            config,
            name="the model API",
            section="API",
            headers={"authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            trace=trace,
        )

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A verdict for each transaction, in the same order: see `assay.ports.classifier`.

        Raises:
            Unavailable: refused, timed out, 408, 425, 429, 5xx, or what answered was no model API
                or broke off.
            Refused: 400, 413, 422 or 500 while the API says that it is ready, or answers to other
                questions.
            Fatal: 401, 403, 404, another 4xx, a redirection, or 400, 413, 422 of what is no
                model API.
        """
        spoken = self._format
        response = self._ask(spoken, transactions)
        if response.status_code in _OTHER_FORMAT_PLEASE and spoken == "arrow":
            self._format = "json"
            response = self._ask("json", transactions)
        return verdicts(self._read(response), transactions, self._taxonomy)

    def model(self) -> tuple[str, str]:
        """Name and version of the model that answers.

        Raises:
            Unavailable: it is away, or something else answers there.
            Fatal: as `classify`, or its taxonomy is another one.
        """
        response = self._api.send("GET", "/model", {"accept": JSON}, b"")
        self._raise_for(response)
        try:
            about = cast(dict[str, Any], json.loads(response.content))
            found = str(about["name"]), str(about["version"])
            categories = set(about["taxonomy"]["categories"])
        except (ValueError, LookupError, TypeError):
            raise self._something_else() from None
        if categories != set(self._taxonomy.categories):
            raise Fatal(f"{self._api.where} speaks another taxonomy than this service")
        return found

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()

    def _ask(self, spoken: Literal["arrow", "json"], transactions: pl.DataFrame) -> httpx.Response:
        content_type = _CONTENT_TYPES[spoken]
        headers = {"content-type": content_type, "accept": content_type}
        return self._api.send("POST", "/predict", headers, _WRITERS[spoken](transactions))

    def _read(self, response: httpx.Response) -> pl.DataFrame:
        self._raise_for(response)
        content_type = _content_type(response)
        if content_type not in _READERS:
            raise self._something_else()
        try:
            return _READERS[content_type](response.content)
        except ValueError as error:
            raise Unavailable(f"the answer of {self._api.where} cannot be read: {error}") from None

    def _raise_for(self, response: httpx.Response) -> None:
        if response.status_code != HTTPStatus.OK:
            raise error_of(response.status_code, response.headers, self._api.where, self._health)

    def _health(self) -> Health:
        try:
            response = self._api.send("GET", "/health/ready", {"accept": JSON}, b"")
        except Unavailable:
            return "away"
        return health_of(response.status_code, _content_type(response))

    def _something_else(self) -> Unavailable:
        return Unavailable(f"no model API answers at {self._api.url}, but something else does")


def _content_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
