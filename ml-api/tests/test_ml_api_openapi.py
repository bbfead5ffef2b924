"""The OpenAPI document is current, valid and true."""

import json
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi import checks

from assay.memory.meter import MemoryMeter
from assay.testing.classifier import AWKWARD, transactions
from assay.wire import arrow
from assay_ml_api.app import create_app
from assay_ml_api.config import ServerConfig

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "openapi.json").read_text())

NEGATIVE: Any = vars(checks)["negative_data_rejection"]
# Its types are generic in what is not stated anywhere.
schema: Any = schemathesis.openapi.from_dict(DOCUMENT)


@schemathesis.serializer(arrow.CONTENT_TYPE)
def stream(context: Any, value: Any) -> bytes:
    """Bytes that were generated are no stream but once in a lifetime: this is one."""
    del context, value
    return arrow.write_transactions(transactions(list(AWKWARD)))


def test_the_committed_document_is_current(api: httpx.Client) -> None:
    """Whoever changes the interface writes it again: /openapi.json of a service that runs."""
    assert api.get("/openapi.json").json() == DOCUMENT


def test_the_document_is_valid_openapi() -> None:
    """And its examples fit its schemas well enough to be answered without an error."""
    validate(DOCUMENT)
    content = DOCUMENT["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert content["application/json"]["examples"]


def test_settings_do_not_change_the_document() -> None:
    """It is the same wherever the service runs."""
    config = ServerConfig.model_validate({"api_keys": "a", "currency": "GBP"})
    app = create_app(None, config, MemoryMeter(), lambda: (b"", ""))  # type: ignore[arg-type]
    assert app.openapi() == DOCUMENT


@schema.parametrize()
@settings(
    max_examples=40,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_service_does_as_documented(case: Any, url: str) -> None:
    """Generated calls, good and bad, are answered as the document says."""
    # A bad record is answered in its place: the call as a whole is well.
    case.call_and_validate(base_url=url, excluded_checks=[NEGATIVE])
