"""A bucket of a running S3."""

from typing import TYPE_CHECKING

import pytest
from pydantic import HttpUrl, SecretStr

from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_local.pytest_plugin import S3Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def s3_config(s3_settings: S3Settings) -> S3Config:
    """The settings of the running S3."""
    return S3Config(
        endpoint_url=HttpUrl(s3_settings.endpoint_url),
        access_key_id=s3_settings.access_key_id,
        secret_access_key=SecretStr(s3_settings.secret_access_key),
        region=s3_settings.region,
    )


@pytest.fixture(scope="session")
def client(s3_config: S3Config) -> "S3Client":
    """A client, which is the adapter's as well."""
    return s3_client(s3_config)


@pytest.fixture
def versioned(client: "S3Client", bucket: str) -> str:
    """A bucket that keeps versions."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def objects(client: "S3Client") -> S3Objects:
    """The adapter, on a good way."""
    return S3Objects(client)
