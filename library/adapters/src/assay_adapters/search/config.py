"""Settings of the search engine."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, HttpUrl, SecretStr, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=255)]


class SearchConfig(BaseModel, frozen=True):
    """The section `search`. Times are seconds.

    Attributes:
        url: of Elasticsearch or OpenSearch.
        index: made with its mapping unless it is there.
        username, password: for basic authentication, where it is asked for.
        api_key: sent in place of these, as `Authorization: ApiKey`.
        bulk_mib: of documents that are sent at once, at most.
        timeout: until an answer must be there as a whole.
        connect_timeout: until a connection must stand.
        connections: the most that are open at once.
        answer_limit: bytes of an answer that are read.
        ca_bundle: a PEM file of certificates to trust instead of the usual ones.
        client_certificate: a PEM file with the own one, where it is asked for.
        client_key: a PEM file with its key; none where the same file has both.
    """

    url: HttpUrl = Field(repr=False)  # it may hold a password
    index: Name = "transactions"
    username: str | None = None
    password: SecretStr | None = None
    api_key: SecretStr | None = None
    bulk_mib: int = Field(default=4, ge=1, le=100)
    timeout: float = Field(default=60.0, gt=0, le=3_600)
    connect_timeout: float = Field(default=5.0, gt=0, le=3_600)
    connections: int = Field(default=2, ge=1, le=64)
    answer_limit: int = Field(default=64 << 20, ge=1024)
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
