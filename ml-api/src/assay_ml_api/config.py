"""Settings of the model API."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from assay.domain.rules import CURRENCIES


def _keys(value: object) -> object:
    """The keys of a list, which has commas or lines; an empty one would let everybody in."""
    if not isinstance(value, str):
        return value
    if not (keys := tuple(part for part in re.split(r"[,\s]+", value) if part)):
        raise ValueError("holds no key: leave it out where everybody may ask")
    if not value.isascii() or not all(map(str.isprintable, keys)):
        raise ValueError("a header takes visible ASCII characters only")
    return keys


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("not an ISO 4217 code")
    return value


class ServerConfig(BaseModel):
    """The section `server`.

    Attributes:
        host: the address to listen on.
        port: 0 takes a free one, which the log tells.
        workers: processes; each loads the model and counts for itself.
        threads: calls of one process that are computed at once.
        concurrency: calls of one process that are read, wait or are computed; those beyond it
            are answered 503.
        max_bytes: the longest body.
        max_records: the most records of one call.
        body_timeout: seconds in which a body must have come.
        shutdown_timeout: seconds that calls get to end in when the service is told to stop.
        currency: of records that name none.
        api_keys: those that may ask, separated by commas or lines; none: everybody may.
        calls_per_second: of one key in one process, or of all callers where there are no keys;
            those beyond it are answered 429. None: any.
        certificate: a PEM file with the certificate of TLS and those between it and its root; none:
            plain HTTP is spoken.
        certificate_key: a PEM file with its key; none where the same file has both.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1)
    threads: int = Field(default=2, ge=1)
    concurrency: int = Field(default=16, ge=1)
    max_bytes: int = Field(default=16 << 20, ge=1)
    max_records: int = Field(default=50_000, ge=1)
    body_timeout: float = Field(default=30.0, gt=0)
    shutdown_timeout: int = Field(default=10, ge=1)
    currency: Annotated[str, AfterValidator(_currency)] = "EUR"
    api_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_keys)] = ()
    calls_per_second: float | None = Field(default=None, gt=0)
    certificate: Path | None = None
    certificate_key: Path | None = None

    @model_validator(mode="after")
    def _a_key_has_its_certificate(self) -> Self:
        if self.certificate is None and self.certificate_key is not None:
            raise ValueError("certificate_key is given with certificate")
        return self
