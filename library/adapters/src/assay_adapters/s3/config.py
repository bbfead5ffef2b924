"""Settings of S3, section `s3`: `ASSAY_S3__ENDPOINT_URL` and so on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from assay.domain.errors import Fatal

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Longer than a day nobody waits; sockets do not take any number.
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class S3Config(BaseModel):
    """How to reach S3.

    What is left out is found where boto3 finds it: its environment variables, its files, the role
    of the machine or container.

    Attributes:
        endpoint_url: of a store other than AWS.
        access_key_id: together with `secret_access_key`, or neither.
        secret_access_key: belongs to `access_key_id`.
        session_token: of temporary credentials.
        region: as the bucket's owner says.
        addressing_style: `path` puts the bucket behind the host, `virtual` before it.
        ca_bundle: a PEM file of the certificates to trust instead of the usual ones.
        connect_timeout: seconds for a connection.
        read_timeout: seconds of silence within an answer.
    """

    model_config = ConfigDict(frozen=True)

    endpoint_url: HttpUrl | None = Field(default=None, repr=False)  # it may hold a password
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    region: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    ca_bundle: Path | None = None
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 30.0

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key are given together or not at all")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token is given with access_key_id and secret_access_key")
        return self


def s3_client(config: S3Config) -> "S3Client":
    """A client, which threads may share. Nothing is sent before its first use.

    Raises:
        Fatal: a setting, or what boto3 finds in its own places, cannot be used; names it.
    """
    try:
        return _client(config)
    except boto.ProfileNotFound as error:
        raise Fatal(f"S3 cannot be set up: {error}: check AWS_PROFILE") from None
    except boto.ConfigParseError as error:
        raise Fatal(
            f"S3 cannot be set up: {error}: check AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"
        ) from None
    except (boto.BotoCoreError, ValueError) as error:
        raise Fatal(
            f"S3 cannot be set up: {error}: check ASSAY_S3__REGION and ASSAY_S3__ENDPOINT_URL"
        ) from None


def _client(config: S3Config) -> "S3Client":
    session = boto3.session.Session()
    # Only the stubs of this service are installed, so its overload alone is known.
    return session.client(  # pyright: ignore[reportUnknownMemberType]
        "s3",
        endpoint_url=None if config.endpoint_url is None else str(config.endpoint_url),
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=_revealed(config.secret_access_key),
        aws_session_token=_revealed(config.session_token),
        region_name=config.region,
        verify=None if config.ca_bundle is None else str(config.ca_bundle),
        config=Config(
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            # One more try at once is for a connection that went stale in the pool. Whoever calls
            # decides about an outage.
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": config.addressing_style},
            max_pool_connections=16,
        ),
    )


def object_store(config: S3Config) -> Callable[[], dict[str, str]]:
    """The same for libraries that reach S3 by Rust's `object_store`, which knows no files of boto3.

    Returns:
        Gives the options as they stand: keys of a role end, and are renewed by boto3.

    Raises:
        Fatal: as `s3_client`.
    """
    client: Any = s3_client(config)
    region: str = client.meta.region_name
    fixed = {
        "region": region,
        "connect_timeout": f"{config.connect_timeout:g}s",
        "timeout": f"{config.read_timeout:g}s",
        "max_retries": "1",  # whoever calls decides about an outage
        "retry_timeout": f"{config.read_timeout:g}s",
    }
    if config.endpoint_url is not None:
        fixed["endpoint_url"] = str(config.endpoint_url)
        fixed["allow_http"] = str(config.endpoint_url.scheme == "http").lower()
        is_virtual = config.addressing_style == "virtual"
        fixed["virtual_hosted_style_request"] = str(is_virtual).lower()

    def options() -> dict[str, str]:
        signer = client._request_signer  # noqa: SLF001 - what else has the credentials it found?
        found = signer._credentials  # noqa: SLF001 - the same
        if found is None:
            return fixed
        keys = found.get_frozen_credentials()
        given = {
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "aws_session_token": keys.token,
        }
        return fixed | {name: each for name, each in given.items() if each}

    return options


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
