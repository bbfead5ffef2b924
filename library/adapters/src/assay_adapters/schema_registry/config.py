"""Settings of a schema registry."""

from pydantic import BaseModel, Field, HttpUrl, SecretStr


class SchemaRegistryConfig(BaseModel, frozen=True):
    """The section `schema_registry`: of one that speaks the API of Confluent's.

    Attributes:
        url: where it is; None where there is none.
        username, password: where it wants them.
        timeout: seconds until an answer must be there.
        ssl_ca_location: a PEM file of certificates to trust instead of the usual ones.
    """

    url: HttpUrl | None = Field(default=None, repr=False)  # it may hold a password
    username: str | None = None
    password: SecretStr | None = None
    timeout: float = Field(default=5.0, gt=0, le=86_400)
    ssl_ca_location: str | None = None
