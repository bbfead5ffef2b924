"""Settings of the time series database."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, HttpUrl, SecretStr, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=127)]


class SeriesConfig(BaseModel, frozen=True):
    """The section `series`. Times are seconds.

    Attributes:
        url: where lines are written, with nanoseconds: `http://host:9000/write` of QuestDB,
            `http://host:8086/write?db=assay` of InfluxDB 1,
            `http://host:8086/api/v2/write?org=o&bucket=b` of later ones.
        kind: in QuestDB a table is made, with the keys by which what comes again is known; InfluxDB
            needs none.
        measurement: what measurement or table is called.
        token: for `Authorization`, where it is asked for.
        username, password: for basic authentication, where that is asked for.
        keep_days: of days before now that the database keeps; older records become dead letters.
            None: all.
        timeout: until an answer must be there as a whole.
        connect_timeout: until a connection must stand.
        connections: the most that are open at once.
        answer_limit: bytes of an answer that are read.
        ca_bundle: a PEM file of certificates to trust instead of the usual ones.
        client_certificate: a PEM file with the own one, where it is asked for.
        client_key: a PEM file with its key; none where the same file has both.
    """

    url: HttpUrl = Field(repr=False)  # it may hold a password
    kind: Literal["questdb", "influxdb"]
    measurement: Name = "transactions"
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    keep_days: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=30.0, gt=0, le=3_600)
    connect_timeout: float = Field(default=5.0, gt=0, le=3_600)
    connections: int = Field(default=2, ge=1, le=64)
    answer_limit: int = Field(default=1 << 20, ge=1024)
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
