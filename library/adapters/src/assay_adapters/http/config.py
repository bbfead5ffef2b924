"""Settings of those who ask the model API."""

from typing import Literal

from pydantic import BaseModel, Field, HttpUrl, SecretStr


class ApiConfig(BaseModel, frozen=True):
    """The section `api`.

    Attributes:
        url: where the model API is, without `/predict`.
        timeout: seconds until an answer must be there as a whole.
        connect_timeout: seconds until a connection must stand.
        connections: the most that are open at once.
        api_key: sent as a bearer token, where the API wants one.
        format: what is spoken; JSON is spoken as well where the API does not take Arrow.
        answer_limit: bytes of an answer that are read.
    """

    url: HttpUrl
    timeout: float = Field(default=30.0, gt=0)
    connect_timeout: float = Field(default=5.0, gt=0)
    connections: int = Field(default=8, ge=1)
    api_key: SecretStr | None = None
    format: Literal["arrow", "json"] = "arrow"
    answer_limit: int = Field(default=256 << 20, ge=1024)
