"""The services there are. A new one is a module like its neighbours and a line here."""

from assay_local import api, apicurio, kafka, opensearch, postgres, questdb, s3

SERVICES = {
    service.name: service
    for service in (
        postgres.SERVICE,
        s3.SERVICE,
        kafka.SERVICE,
        api.SERVICE,
        opensearch.SERVICE,
        questdb.SERVICE,
        apicurio.SERVICE,
    )
}
USUAL = ("postgres", "s3", "kafka", "api")
"""Those that come up where none is named; what only some need comes up where it is."""

CLUSTERS = {"kafka": kafka.BROKERS}
"""Services that are a cluster of one server or more: all that there may be, the first named so."""

KNOWN = SERVICES | {each.name: each for cluster in CLUSTERS.values() for each in cluster}
"""All that may run in a folder, by name."""
