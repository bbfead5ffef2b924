"""Object storage: the S3 emulator MiniStack, with its other services switched off.

An emulator, not S3: conditional puts, multipart uploads, paging and versions behave like the real
one; of a request's credentials it checks the access key and not the signature.
"""

import importlib.metadata
import os
import signal
import sys

from assay_local.service import HOST, Launch, Service, Site, answers_ok

ACCESS_KEY = "assay"
REGION = "eu-central-1"


def _version() -> str:
    return importlib.metadata.version("ministack")


def _values(site: Site) -> tuple[str, ...]:
    return (f"http://{HOST}:{site.port}", ACCESS_KEY, site.secret, REGION)


def _settle(site: Site) -> None:
    for name in ("objects", "tmp"):
        (site.folder / name).mkdir(mode=0o700, exist_ok=True)


def _launch(site: Site) -> Launch:
    # What the caller has set for a real AWS account is no business of the emulator's.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MINISTACK_", "LOCALSTACK_"))
    }
    own = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(site.port),
        "SERVICES": "s3",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(site.folder / "objects"),
        "TMPDIR": str(site.folder / "tmp"),
        # Unknown access keys are refused, as S3 does; the default lets everything in.
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": site.secret,
        "MINISTACK_REGION": REGION,
        # It would look for containers to clear away, and open ports for SFTP and MQTT.
        "DOCKER_HOST": f"unix://{site.folder}/none",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    return Launch(
        argv=[sys.executable, "-P", "-m", "ministack"],
        env={**inherited, **own},
        cwd=site.folder,
    )


def _answers(site: Site) -> bool:
    return answers_ok(site.port, "/_ministack/ready")


SERVICE = Service(
    name="s3",
    about="MiniStack, an emulator of S3",
    keys=(
        "ASSAY_S3__ENDPOINT_URL",
        "ASSAY_S3__ACCESS_KEY_ID",
        "ASSAY_S3__SECRET_ACCESS_KEY",
        "ASSAY_S3__REGION",
    ),
    values=_values,
    version=_version,
    settle=_settle,
    launch=_launch,
    answers=_answers,
    stop=signal.SIGTERM,
)
