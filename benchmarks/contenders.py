"""Who does the work, and how each is set up and started."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

from assay_local import LocalError
from assay_local.jars import cache

Job = Literal["stream", "batch"]
"""What there is to do: a topic, or a file, over the model API into PostgreSQL."""

ASSAY: Final = str(Path(sys.executable).with_name("assay"))

_HERE: Final = Path(__file__).parent
_JAVA: Final = ("17", "21")
_NO_JAVA: Final = (
    "PySpark needs Java 17 or 21, on the path or named in JAVA_HOME: `apt-get install"
    " openjdk-17-jre-headless`, `brew install openjdk@17`; or leave it out with --contenders."
)
_PRODUCT: Final = """
`assay batch run` and `assay stream consume` with their defaults, as below. One process and one
connection to PostgreSQL for its transactions; Arrow to the model API. Everything that it promises
is on: ledger, positions, rejects in the table `dead_letters`, metrics, the check of each answer.
What publishes the dead letters is a service of its own, which is not started here.
"""


@dataclass(frozen=True)
class Contender:
    """One way of doing the work.

    Attributes:
        name: as it is typed.
        title: as it is shown.
        scripts: for each job that it does, file and first arguments; none for the product.
        locked: whether its packages are in an environment of its own, as the lock file beside the
            script says.
    """

    name: str
    title: str
    scripts: Mapping[Job, Sequence[str]]
    locked: bool = False

    def does(self, job: Job) -> bool:
        """Whether it does this job."""
        return not self.scripts or job in self.scripts

    def about(self, job: Job) -> str:
        """How it is set up, and what it does not promise: the docstring of its script."""
        if not self.scripts:
            return _PRODUCT.strip()
        module = ast.parse(Path(self.scripts[job][0]).read_text("utf-8"))
        said, _, _ = (ast.get_docstring(module) or "").partition("\n\nRun as a process")
        return said


def packages(contender: Contender) -> list[str]:
    """The packages that its scripts ask for, as their heads pin them (PEP 723)."""
    if not contender.locked:
        return []
    script, *_ = next(iter(contender.scripts.values()))
    lines = takewhile("# ///".__ne__, Path(script).read_text("utf-8").splitlines()[1:])
    found: list[str] = tomllib.loads("\n".join(each[2:] for each in lines))["dependencies"]
    return found


def _script(name: str, *arguments: str) -> Sequence[str]:
    return (str(_HERE / name), *arguments)


_SPARK: Final = "peers/spark.py"
CONTENDERS: Final = {
    each.name: each
    for each in (
        Contender("assay", "Assay", {}),
        Contender(
            "plain",
            "plain loop",
            {"stream": _script("plain_stream.py"), "batch": _script("plain.py")},
        ),
        Contender("quix", "Quix Streams", {"stream": _script("peers/quix.py")}, locked=True),
        Contender(
            "fast", "FastStream with COPY", {"stream": _script("peers/fast.py")}, locked=True
        ),
        Contender(
            "spark",
            "PySpark",
            {"stream": _script(_SPARK, "stream"), "batch": _script(_SPARK, "batch")},
            locked=True,
        ),
    )
}


@dataclass(frozen=True)
class Ready:
    """A contender that can be started.

    Attributes:
        contender: who.
        python: the interpreter that has its packages.
    """

    contender: Contender
    python: str

    def command(self, job: Job, *arguments: str) -> list[str]:
        """The command for a job; it is for the product itself to say its own."""
        return [self.python, *self.contender.scripts[job], *arguments]


def chosen(names: str) -> list[Contender]:
    """The contenders of a list with commas, the product first.

    Raises:
        LocalError: there is no such contender.
    """
    asked = [each.strip() for each in names.split(",") if each.strip()]
    if unknown := sorted(set(asked) - CONTENDERS.keys()):
        raise LocalError(f"there is no {unknown[0]}; there are {', '.join(CONTENDERS)}")
    return [each for name, each in CONTENDERS.items() if name in {"assay", *asked}]


def ready(contender: Contender) -> Ready:
    """Installs what it needs, as its lock file says, once for all runs.

    Raises:
        LocalError: something is missing; says what to do.
    """
    if not contender.locked:
        return Ready(contender, sys.executable)
    script, *_ = next(iter(contender.scripts.values()))
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise LocalError("the peers' packages are installed by uv: `pip install uv`")
    _run([uv, "sync", "--quiet", "--script", script, "--locked", "--python", sys.executable])
    python = _run([uv, "python", "find", "--script", script]).strip()
    if contender.name == "spark":
        _fetch_jars(python, script)
    return Ready(contender, python)


def surroundings() -> dict[str, str]:
    """What contenders have to be told beside the servers."""
    return {"BENCHMARK_SPARK_JARS": str(cache() / "spark-4.2.0")}


def java() -> str | None:
    """The version of Java that PySpark takes; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    command = str(Path(home, "bin", "java")) if home else shutil.which("java")
    said = ""
    with suppress(LocalError):
        said = _run([command, "-version"]) if command else ""
    found = re.search(r'version "([^"]+)"', said)
    return found[1] if found else None


def _fetch_jars(python: str, script: str) -> None:
    version = java() or ""
    if version.partition(".")[0] not in _JAVA:
        raise LocalError(_NO_JAVA)
    told = surroundings()
    if not Path(told["BENCHMARK_SPARK_JARS"], "jars").is_dir():
        _run([python, script, "fetch"], {**os.environ, **told})


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command has written, stderr included where it is all (java)."""
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command, env=environment, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        tail = str(getattr(error, "stderr", error)).strip().splitlines()[-5:]
        raise LocalError(f"{' '.join(command)} failed:\n" + "\n".join(tail)) from None
    return done.stdout or done.stderr
