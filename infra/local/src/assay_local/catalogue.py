"""The services there are. A new one is a module like its neighbours and a line here."""

from assay_local import api, kafka, postgres, s3

SERVICES = {
    service.name: service
    for service in (
        postgres.SERVICE,
        s3.SERVICE,
        kafka.SERVICE,
        api.SERVICE,
    )
}
CLUSTERS = {"kafka": kafka.BROKERS}
"""Services that are a cluster of one server or more: all that there may be, the first named so."""

KNOWN = SERVICES | {each.name: each for cluster in CLUSTERS.values() for each in cluster}
"""All that may run in a folder, by name."""
