"""What the model API counts."""

from typing import Final

from assay.domain.metrics import Metric

CALLS: Final = Metric(
    "assay_api_calls_total",
    "counter",
    "Calls for predictions, and whatever was refused over its key or rate, by HTTP status.",
    ("status",),
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
DRIFT_PSI: Final = Metric(
    "assay_api_drift_psi",
    "gauge",
    "How far the mix of categories is from that at training (population stability index).",
    ("version",),
)
MEAN_CONFIDENCE: Final = Metric(
    "assay_api_mean_confidence", "gauge", "Mean confidence of the latest answers.", ("version",)
)
MEAN_CONFIDENCE_REFERENCE: Final = Metric(
    "assay_api_mean_confidence_reference", "gauge", "The same at training.", ("version",)
)
REVIEW_SHARE: Final = Metric(
    "assay_api_review_share",
    "gauge",
    "Share of the latest answers that need review.",
    ("version",),
)
REVIEW_SHARE_REFERENCE: Final = Metric(
    "assay_api_review_share_reference", "gauge", "The same at training.", ("version",)
)
UNSEEN_SHARE: Final = Metric(
    "assay_api_unseen_share",
    "gauge",
    "Share of the latest records with a descriptor that training did not know.",
    ("version",),
)
UNSEEN_SHARE_REFERENCE: Final = Metric(
    "assay_api_unseen_share_reference", "gauge", "The same at training.", ("version",)
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
    "Attempts to follow the registry to another model or other corrections, by result: done, failed"
    " or away.",
    ("result",),
)
SHADOW_RECORDS: Final = Metric(
    "assay_api_shadow_records_total",
    "counter",
    "Records for the challenger, by result: agree, disagree, skipped or failed.",
    ("result",),
)

DRIFT: Final = (
    DRIFT_PSI,
    MEAN_CONFIDENCE,
    MEAN_CONFIDENCE_REFERENCE,
    REVIEW_SHARE,
    REVIEW_SHARE_REFERENCE,
    UNSEEN_SHARE,
    UNSEEN_SHARE_REFERENCE,
)
"""Absent until enough records are in."""

METRICS: Final = (CALLS, RECORDS, SECONDS, CALLS_OPEN, MODEL, RELOADS, SHADOW_RECORDS, *DRIFT)
