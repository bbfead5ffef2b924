"""Settings of the webhook."""

from base64 import b64decode
from binascii import Error
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationInfo,
    field_validator,
)

_PREFIX: Final = "whsec_"


def key_of(secret: SecretStr) -> bytes:
    """The key that a secret stands for: what follows `whsec_` is in base64, others are as they are.

    Raises:
        ValueError: it is no base64.
    """
    text = secret.get_secret_value()
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return b64decode(text.removeprefix(_PREFIX), validate=True)
    except Error:
        raise ValueError("after whsec_ it must be base64") from None


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part for part in map(str.strip, value.split(",")) if part)


def _is_key(secret: SecretStr) -> SecretStr:
    if len(key_of(secret)) < _LEAST:
        raise ValueError(f"must have at least {_LEAST} bytes")
    return secret


_LEAST: Final = 16


class WebhookConfig(BaseModel, frozen=True):
    """The section `webhook`. Times are seconds.

    Attributes:
        url: where requests go.
        secret: signs them; `whsec_` and base64, or any text of at least 16 bytes.
        categories: of which it is told, separated by commas; all unless given.
        least_confidence, most_confidence: the predictions of which it is told, both ends included.
        timeout: until an answer must be there as a whole.
        connect_timeout: until a connection must stand.
        connections: the most that are open at once.
        answer_limit: bytes of an answer that are read.
        ca_bundle: a PEM file of certificates to trust instead of the usual ones.
        client_certificate: a PEM file with the own one, where it is asked for.
        client_key: a PEM file with its key; none where the same file has both.
    """

    url: HttpUrl = Field(repr=False)  # it may hold a password
    secret: Annotated[SecretStr, AfterValidator(_is_key)]
    categories: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    least_confidence: float = Field(default=0.0, ge=0, le=1)
    most_confidence: float = Field(default=1.0, ge=0, le=1)

    @field_validator("most_confidence")
    @classmethod
    def _is_the_most(cls, most: float, info: ValidationInfo) -> float:
        if most < info.data.get("least_confidence", 0.0):
            raise ValueError("must not be less than ASSAY_WEBHOOK__LEAST_CONFIDENCE")
        return most

    timeout: float = Field(default=10.0, gt=0, le=3_600)
    connect_timeout: float = Field(default=5.0, gt=0, le=3_600)
    connections: int = Field(default=8, ge=1, le=256)
    answer_limit: int = Field(default=1 << 20, ge=1024)
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
