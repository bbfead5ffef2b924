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
