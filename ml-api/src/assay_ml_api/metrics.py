"""What the model API counts."""

from typing import Final

from assay.domain.metrics import Metric

CALLS: Final = Metric(
    "assay_api_calls_total", "counter", "Calls for predictions, by HTTP status.", ("status",)
)
RECORDS: Final = Metric(
    "assay_api_records_total", "counter", "Records that were answered, by verdict.", ("verdict",)
)
SECONDS: Final = Metric(
    "assay_api_seconds",
    "histogram",
    "Seconds from the head of a call for predictions to its answer.",
)
CALLS_OPEN: Final = Metric(
    "assay_api_calls_open", "gauge", "Calls for predictions that are read, wait or are computed."
)

METRICS: Final = (CALLS, RECORDS, SECONDS, CALLS_OPEN)
