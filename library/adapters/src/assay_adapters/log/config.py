"""Settings of the log."""

from typing import Literal

from pydantic import BaseModel


class LogConfig(BaseModel, frozen=True):
    """The section `log`.

    Attributes:
        level: the least severe level that is written.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
