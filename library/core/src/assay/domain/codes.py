"""Why records are rejected."""

from typing import Final

CODES: Final = frozenset(
    (
        "unclosed_quote",
        "record_too_long",
        "invalid_encoding",
        "malformed_quotes",
        "wrong_field_count",
        "empty_record",
        "invalid_json",
        "invalid_record",
        "duplicate_name",
        "missing_transaction_id",
        "transaction_id_too_long",
        "invalid_transaction_id",
        "missing_description",
        "description_too_long",
        "invalid_description",
        "missing_amount",
        "invalid_amount",
        "amount_precision",
        "amount_range",
        "amount_sign",
        "missing_currency",
        "invalid_currency",
        "missing_timestamp",
        "invalid_timestamp",
        "missing_merchant",
        "merchant_too_long",
        "invalid_merchant",
        "missing_operation_type",
        "invalid_operation_type",
        "missing_side",
        "invalid_side",
        "missing_mcc",
        "invalid_mcc",
        "classifier_refused",
        "classifier_gave_up",
        "invalid_prediction",
        "conflicting_duplicate",
        "unreadable_prediction",
        "target_refused",
    )
)
"""The codes that the product gives by itself. A model API may give others."""
