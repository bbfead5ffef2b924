"""Webhooks: signed requests for what somebody has chosen."""
