"""The settings of the models' registry."""

import pytest
from pydantic import ValidationError

from assay_adapters.environment.models import ModelsConfig


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("s3://bucket/models", "s3://bucket/models/"),
        ("s3://bucket/models/", "s3://bucket/models/"),
        ("file:///srv/models", "file:///srv/models/"),
        ("/srv/models", "/srv/models/"),
    ],
)
def test_a_registry_is_a_folder(given: str, read: str) -> None:
    """With a `/` at its end or without."""
    assert ModelsConfig(registry=given).registry == read


@pytest.mark.parametrize(
    "given", ["models", "./models", "", "~/models", "file://host/x", "gs://bucket/", "/srv/*/"]
)
def test_a_place_that_others_would_not_find_is_refused(given: str) -> None:
    """Services and commands run in different folders, and mean the same place."""
    with pytest.raises(ValidationError, match="absolute path"):
        ModelsConfig(registry=given)


def test_a_poll_takes_time() -> None:
    """No look follows the other at once."""
    with pytest.raises(ValidationError):
        ModelsConfig(poll=0)
