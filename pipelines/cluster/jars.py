"""The jar of an engine: built once by Maven from the versions pinned in pom.xml, under a name that is theirs."""

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from features.errors import RunError
from features.runtime.log import LOG

ENGINES = ("flink", "spark")
_POM, _LAUNCHER = (Path(__file__).with_name(name) for name in ("pom.xml", "JobServer.java"))
_SAID_LINES = 5


def jar_path(folder: Path, engine: str) -> Path:
    """Returns where the jar of an engine lies, or will: its name has a hash of what it is built from.

    Args:
        folder: that of the jars.
        engine: one of `ENGINES`.
    """
    digest = hashlib.sha256(_POM.read_bytes() + _LAUNCHER.read_bytes()).hexdigest()
    return folder / f"{engine}-{digest[:12]}.jar"


def build_jar(folder: Path, engine: str) -> Path:
    """Returns the jar of an engine, which Maven builds where it is missing; jars of other versions are removed.

    Args:
        folder: that of the jars; made where it is missing.
        engine: one of `ENGINES`.

    Raises:
        RunError: there is no Maven, or it failed.
    """
    jar = jar_path(folder, engine)
    if jar.exists():
        return jar
    maven = shutil.which("mvn")
    if maven is None:
        raise RunError(f"{jar} is missing and no mvn is on the PATH to build it: install Maven and a JDK, 11 or newer")
    LOG.info("building the jar of %s with Maven, once; it takes minutes and 200 to 500 MB of disk", engine)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as build:
        source = Path(build) / "src" / "main" / "java"
        source.mkdir(parents=True)
        shutil.copy(_POM, build)
        shutil.copy(_LAUNCHER, source)
        command = [maven, "--quiet", "--batch-mode", "--activate-profiles", engine, "package"]
        result = subprocess.run(
            command, cwd=build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if result.returncode:
            said = [line for line in result.stdout.splitlines() if "ERROR" in line] or result.stdout.splitlines()
            raise RunError(f"Maven could not build the jar of {engine}: {'; '.join(said[:_SAID_LINES])}")
        (Path(build) / "target" / "cluster.jar").replace(jar)
    for other in folder.glob(f"{engine}-*.jar"):
        if other != jar:
            other.unlink()
    return jar


def write_empty_jar(path: Path) -> None:
    """Writes a jar with nothing in it: all that a job needs of jars, as each process of the cluster has its own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
