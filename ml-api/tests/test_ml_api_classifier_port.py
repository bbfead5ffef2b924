"""The port suite of `Classifier` through the real app over real HTTP."""

from collections.abc import Iterator

import pytest

from assay.ports.classifier import Classifier
from assay.testing.classifier import ClassifierSuite
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig


class TestOverArrow(ClassifierSuite):
    """As Assay's services speak to it."""

    @pytest.fixture
    def classifier(self, url: str) -> Iterator[Classifier]:  # pyright: ignore[reportIncompatibleMethodOverride] - a fixture may yield
        """A classifier that speaks Arrow."""
        classifier = HttpClassifier(ApiConfig.model_validate({"url": url}))
        yield classifier
        classifier.close()


class TestOverJson(ClassifierSuite):
    """As anybody may speak to it."""

    @pytest.fixture
    def classifier(self, url: str) -> Iterator[Classifier]:  # pyright: ignore[reportIncompatibleMethodOverride] - a fixture may yield
        """A classifier that speaks JSON."""
        classifier = HttpClassifier(ApiConfig.model_validate({"url": url, "format": "json"}))
        yield classifier
        classifier.close()


def test_the_model_is_named(url: str) -> None:
    """The classifier knows which model answers, and that it speaks our taxonomy."""
    classifier = HttpClassifier(ApiConfig.model_validate({"url": url + "/"}))
    name, version = classifier.model()
    assert name
    assert version
    classifier.close()
