"""The services there are. A new one is a module like its neighbours and a line here."""

from assay_local import api, postgres, s3

SERVICES = {
    service.name: service
    for service in (
        postgres.SERVICE,
        s3.SERVICE,
        api.SERVICE,
    )
}
