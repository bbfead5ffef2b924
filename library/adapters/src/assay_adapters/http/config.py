"""Settings of those who ask the model API."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, HttpUrl, SecretStr


def _is_token(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a header takes visible ASCII characters only")
    return key


# Longer than a day nobody waits; sockets do not take any number.
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ApiConfig(BaseModel, frozen=True):
    """The section `api`.

    Attributes:
        url: where the model API is, without `/predict`.
        timeout: seconds until an answer must be there as a whole.
        connect_timeout: seconds until a connection must stand.
        connections: the most that are open at once, and so calls.
        api_key: sent as a bearer token, where the API wants one.
        format: what is spoken; JSON is spoken as well where the API does not take Arrow.
        answer_limit: bytes of an answer that are read.
        ca_bundle: a PEM file of certificates to trust instead of the usual ones.
        client_certificate: a PEM file with the own one, where it is asked for.
        client_key: a PEM file with its key; none where the same file has both.
    """

    url: HttpUrl = Field(repr=False)  # it may hold a password
    timeout: Seconds = 30.0
    connect_timeout: Seconds = 5.0
    connections: int = Field(default=8, ge=1)
    api_key: Annotated[SecretStr, AfterValidator(_is_token)] | None = None
    format: Literal["arrow", "json"] = "arrow"
    answer_limit: int = Field(default=256 << 20, ge=1024)
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
