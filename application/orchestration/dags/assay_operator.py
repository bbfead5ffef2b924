"""Assay's commands as tasks of Airflow: what its DAGs share.

What is known before any run comes from the environment of scheduler and workers:

- `ASSAY_BATCH_IMAGE`, `ASSAY_CLI_IMAGE`: the images;
- `DOCKER_HOST`: where containers run; `ASSAY_NETWORK`: the network that they join;
- `ASSAY_CONTRACTS`: the folder of contracts on that machine, which containers see as /contracts.

What containers are to know comes from the connection `assay`, whose extra is a JSON object of
environment variables, `ASSAY_POSTGRES__URL` and passwords among them; `ASSAY_…_FILE` names a file
beside Airflow, whose content containers get. It is read when a task begins, and stands in no
rendered template, log or XCom.
"""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from airflow.providers.docker.exceptions import DockerContainerFailedException
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from airflow.sdk.log import mask_secret
from docker import APIClient
from docker.errors import APIError
from docker.types import Mount

_log = logging.getLogger(__name__)

CONNECTION: Final = "assay"
ALERTS: Final = "assay_alerts"
"""The connection to which alerts are posted; without it they are in Airflow alone."""

TEMPORARY: Final = 75
NOTHING_TO_DO: Final = 99
_KILLED: Final = 128
"""Codes above it: a signal has ended the container. It goes on where it stood."""

_STATUS: Final = re.compile(r"'StatusCode': (\d+)")
_SECRET: Final = re.compile("PASSWORD|SECRET|TOKEN|KEY|URL")
_IN_FILE: Final = "_FILE"
_STOP: Final = 60
"""Seconds that a container has to commit what it has read."""

_UNPRIVILEGED: Final = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},  # noqa: S108 - the container's
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


class AssayOperator(DockerOperator):
    """One command of Assay in a container without rights; its summary, the last line, is the XCom.

    Exit 75 is tried again as the task's `retries` say, with exponential delay, and so is a
    container that was killed, or a Docker that is away. 99 skips. Any other code but 0 fails at
    once, since the same call would end in the same way.
    """

    def __init__(self, *, service: str, **given: Any) -> None:
        """Takes what `DockerOperator` takes.

        Args:
            service: whose image it is: `batch` or `cli`.
            given: as for `DockerOperator`.
        """
        contracts = os.environ.get("ASSAY_CONTRACTS")
        usual: dict[str, Any] = {
            "image": os.environ.get(f"ASSAY_{service.upper()}_IMAGE", f"assay-{service}:0.1.0"),
            "docker_url": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"),
            "network_mode": os.environ.get("ASSAY_NETWORK", "assay_default"),
            "mounts": [Mount("/contracts", contracts, type="bind", read_only=True)]
            if contracts
            else [],
            "mount_tmp_dir": False,
            "auto_remove": "never",  # before it is gone its own words are read, see `execute`
            "mem_limit": "2g",
            "labels": {"assay": service},
            "skip_on_exit_code": NOTHING_TO_DO,
        }
        super().__init__(**(usual | given))

    @property
    def cli(self) -> APIClient:
        """Docker, where containers get no rights: `DockerOperator` cannot be told so."""
        client = super().cli
        client.create_host_config = partial(APIClient.create_host_config, client, **_UNPRIVILEGED)
        return client

    def execute(self, context: Any) -> str:
        """Runs the container, and removes it.

        Returns:
            The last line on its standard output. `DockerOperator` takes what came last on either:
            a line of the log may come after it.

        Raises:
            AirflowFailException: it does not help to try again.
            DockerContainerFailedException: it may.
        """
        self._private_environment = {**self._private_environment, **_told()}
        try:
            super().execute(context)
            said: bytes = self.cli.logs(self.container["Id"], stdout=True, stderr=False)
        except DockerContainerFailedException as error:
            found = _STATUS.search(str(error))
            code = int(found[1]) if found is not None else 1
            if code == TEMPORARY or code > _KILLED:
                raise
            raise AirflowFailException(f"exit code {code}: {_complaint(error.logs)}") from None
        finally:
            self._remove()
        return (said.decode().splitlines() or ["{}"])[-1]

    def on_kill(self) -> None:
        """Lets the container commit what it has read, and removes it."""
        if self.container is not None:
            self.cli.stop(self.container["Id"], timeout=_STOP)
            self._remove()

    def _remove(self) -> None:
        if self.container is not None:
            with suppress(APIError):  # it is gone, or goes just now: both ways of ending come by
                self.cli.remove_container(self.container["Id"], force=True)


def alert(context: Any) -> None:
    """Posts that a run of a DAG has failed to the connection `assay_alerts`, if there is one.

    The body is a JSON object: `dag_id`, `run_id`, `text`.
    """
    run: Any = context["dag_run"]
    try:
        hook = HttpHook(http_conn_id=ALERTS)
        hook.get_connection(ALERTS)
    except AirflowNotFoundException:
        _log.warning("nobody is told: there is no connection %s", ALERTS)
        return
    text = f"Airflow: {run.dag_id} has failed in {run.run_id}"
    hook.run(json={"dag_id": run.dag_id, "run_id": run.run_id, "text": text})


COMMON: Final[dict[str, Any]] = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    # Here, since mapped tasks do not take them from their operator.
    "default_args": {
        "retries": 5,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=15),
    },
    "on_failure_callback": alert,
    "tags": ["assay"],
}
"""What each DAG is made with."""


def _told() -> dict[str, str]:
    """What containers are to know.

    Raises:
        AirflowFailException: a file that the connection names cannot be read.
    """
    told: dict[str, str] = {}
    for given, value in Connection.get(CONNECTION).extra_dejson.items():
        name = given.removesuffix(_IN_FILE)
        try:
            told[name] = value if name == given else Path(value).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise AirflowFailException(f"connection {CONNECTION}, {given}: {error}") from None
        if _SECRET.search(name):
            mask_secret(told[name])
    return told


def _complaint(lines: Sequence[str] | None) -> str:
    """What the command has said of its end."""
    said = list(lines or ["it said nothing"])
    begins = [at for at, line in enumerate(said) if line.startswith("error: ")]
    return "\n".join(said[begins[-1] if begins else -1 :])
