"""Elasticsearch and OpenSearch: predictions as documents."""
