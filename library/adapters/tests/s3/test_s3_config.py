"""Settings of S3 that no client can be made with are named."""

from pathlib import Path

import pytest

from assay.domain.errors import Fatal
from assay_adapters.s3.config import S3Config, s3_client


def test_a_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 78."""
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(Fatal, match="AWS_PROFILE"):
        s3_client(S3Config())


def test_a_broken_file_of_aws_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 78."""
    broken = tmp_path / "config"
    broken.write_text("no section here")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    with pytest.raises(Fatal, match="AWS_CONFIG_FILE"):
        s3_client(S3Config())


def test_a_region_that_is_none_is_named() -> None:
    """Exit code 78."""
    with pytest.raises(Fatal, match="ASSAY_S3__REGION"):
        s3_client(S3Config(region="no where"))
