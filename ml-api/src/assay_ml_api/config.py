"""Settings of the model API."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr

from assay.domain.rules import CURRENCIES


def _split(value: object) -> object:
    """The parts of a list that is written with commas."""
    if not isinstance(value, str):
        return value
    return tuple(part for part in (each.strip() for each in value.split(",")) if part)


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("not an ISO 4217 code")
    return value


class ServerConfig(BaseModel, frozen=True):
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
        api_keys: those that may ask, separated by commas; none: everybody may.
    """

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
    api_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_split)] = ()
