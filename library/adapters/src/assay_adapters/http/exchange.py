"""Requests and answers, whole, within a time and a size."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import httpx

from assay.domain.errors import Fatal, Unavailable
from assay_adapters.http.deadline import BoundedTransport, within
from assay_adapters.http.tls import context, fault_of


class Limits(Protocol):
    """How long a call may take, how much of an answer is read, and who is trusted."""

    @property
    def timeout(self) -> float:
        """Seconds until an answer must be there as a whole."""
        ...

    @property
    def connect_timeout(self) -> float:
        """Seconds until a connection must stand."""
        ...

    @property
    def connections(self) -> int:
        """The most that are open at once."""
        ...

    @property
    def answer_limit(self) -> int:
        """Bytes of an answer that are read."""
        ...

    @property
    def ca_bundle(self) -> Path | None:
        """Certificates to trust instead of the usual ones."""
        ...

    @property
    def client_certificate(self) -> Path | None:
        """The client's own, for servers that ask for one."""
        ...

    @property
    def client_key(self) -> Path | None:
        """Belongs to it; None where the same file has both."""
        ...


class Exchange:
    """Asks a service over connections that are kept.

    Safe to use from several threads. Proxies and credentials of the environment do not count.

    Attributes:
        url: of the service, as it may be shown.
        where: what the service is, and its address.
    """

    def __init__(
        self,
        url: str,
        limits: Limits,
        *,
        name: str,
        section: str,
        headers: Mapping[str, str],
        trace: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Connects at the first request.

        Args:
            url: of the service, without the paths that are asked for.
            limits: of each call.
            name: what the service is, for messages: "the model API".
            section: of the settings that these limits come from, as in `ASSAY_<section>__TIMEOUT`.
            headers: of every request.
            trace: those of a request that is made just now.

        Raises:
            Fatal: a file of TLS cannot be used.
        """
        self._trace = trace
        self._url, self._limits, self._section = url, limits, section
        shown = httpx.URL(url).copy_with(username=None, password=None, query=None)
        self.url = str(shown).rstrip("/")
        self.where = f"{name} at {self.url}"
        self._client = httpx.Client(
            # A short answer that unpacks to a long one would get around the limit.
            headers={"accept-encoding": "identity", **headers},
            timeout=httpx.Timeout(limits.timeout, connect=limits.connect_timeout),
            trust_env=False,
            transport=BoundedTransport(
                context(limits.ca_bundle, limits.client_certificate, limits.client_key, section),
                httpx.Limits(
                    max_connections=limits.connections,
                    max_keepalive_connections=limits.connections,
                ),
            ),
        )

    def send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> httpx.Response:
        """The answer, read whole, and unpacked where somebody has packed it all the same.

        Raises:
            Unavailable: the service is away, answers too late, or too much.
            Fatal: TLS fails for a reason that does not pass.
        """
        body = bytearray()
        try:
            with (
                within(self._limits.timeout),
                self._client.stream(
                    method, self._at(path), headers={**headers, **self._trace()}, content=content
                ) as response,
            ):
                for part in response.iter_bytes():
                    body += part
                    if len(body) > self._limits.answer_limit:
                        raise Unavailable(
                            f"the answer of {self.where} is longer than"
                            f" ASSAY_{self._section}__ANSWER_LIMIT",
                            too_much=True,
                        )
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{self.where} did not answer within {self._limits.timeout:g} s",
                too_much=isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout),
            ) from None
        except httpx.RequestError as error:
            if fault := fault_of(error, self._section):
                raise Fatal(f"{self.where} cannot be asked: {fault}") from None
            # Who is not spoken to in TLS hangs up without a word.
            is_plain = isinstance(error, httpx.RemoteProtocolError) and self.url.startswith("http:")
            hint = f"; should ASSAY_{self._section}__URL begin with https://?" if is_plain else ""
            raise Unavailable(f"{self.where} is away ({type(error).__name__}{hint})") from None
        # As they came: some are not written in ASCII.
        told = [each for each in response.headers.raw if each[0].lower() != b"content-encoding"]
        return httpx.Response(response.status_code, headers=told, content=bytes(body))

    def _at(self, path: str) -> str:
        return self._url.rstrip("/") + path if path else self._url

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
