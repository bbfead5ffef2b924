"""Real servers for laptop, demo, tests and CI, without Docker.

``with servers("postgres", "s3") as local:`` starts servers that end with the block, however its
process ends. `assay up` starts servers that go on until `assay down`.
"""

from assay_local.errors import LocalError, ServerError, SetupError
from assay_local.local import Local, servers
from assay_local.server import Server

__all__ = ["Local", "LocalError", "Server", "ServerError", "SetupError", "servers"]
