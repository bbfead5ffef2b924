"""What the model API counts."""

from typing import Final

from assay.domain.metrics import Metric

CALLS: Final = Metric(
    "assay_api_calls_total", "counter", "Calls of /predict, by HTTP status.", ("status",)
)
RECORDS: Final = Metric(
    "assay_api_records_total", "counter", "Records that were answered, by verdict.", ("verdict",)
)
SECONDS: Final = Metric(
    "assay_api_seconds", "histogram", "Seconds from the head of a call of /predict to its answer."
)
CALLS_OPEN: Final = Metric(
    "assay_api_calls_open", "gauge", "Calls of /predict that are read, wait or are computed."
)
MODEL: Final = Metric(
    "assay_api_model_info",
    "gauge",
    "1 for the model that answers, 0 for those that have done so before.",
    ("name", "version"),
)
RELOADS: Final = Metric(
    "assay_api_reloads_total",
    "counter",
    "Attempts to follow the registry to another model, by result: done, failed or away.",
    ("result",),
)
SHADOW_RECORDS: Final = Metric(
    "assay_api_shadow_records_total",
    "counter",
    "Records for the challenger, by result: agree, disagree, skipped or failed.",
    ("result",),
)

METRICS: Final = (CALLS, RECORDS, SECONDS, CALLS_OPEN, MODEL, RELOADS, SHADOW_RECORDS)
