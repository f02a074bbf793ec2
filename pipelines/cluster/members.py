"""The processes that a cluster consists of: their command lines, and the configuration that they read."""

from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError
from pipelines.cluster.jars import ENGINES

HOST = "127.0.0.1"
_PORTS = ("web interface", "JobManager", "job server", "artifacts of jobs", "expansion of transforms")
_MEBIBYTE = 1 << 20
# What Flink's and Spark's own scripts open to them on Java 17.
_OPENED = (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.math", "java.net", "java.nio", "java.text",
    "java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
    "sun.net.util", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """What a cluster is asked to be.

    Attributes:
        engine: `flink` or `spark`.
        taskmanagers: processes that run tasks; Spark, in one process here, has one.
        slots: tasks that each of them runs at once.
        port: the first of five ports.
    """

    engine: str
    taskmanagers: int
    slots: int
    port: int

    def __post_init__(self) -> None:
        """Raises `UsageError` for what cannot be."""
        if self.engine not in ENGINES:
            raise UsageError(f"an engine is {' or '.join(ENGINES)}, not {self.engine!r}")
        if self.taskmanagers < 1 or self.slots < 1:
            raise UsageError(f"a cluster has TaskManagers and slots, not {self.taskmanagers} and {self.slots}")
        if self.engine == "spark" and self.taskmanagers != 1:
            raise UsageError(
                f"Spark runs in one process here, not in {self.taskmanagers}; --slots are its tasks at once"
            )
        if not 1024 <= self.port <= 65_535 - len(_PORTS):
            raise UsageError(
                f"the first of {len(_PORTS)} ports is from 1024 to {65_535 - len(_PORTS)}, not {self.port}"
            )

    @property
    def ports(self) -> dict[int, str]:
        """The ports, and what each is for."""
        return {self.port + number: name for number, name in enumerate(_PORTS)}

    @property
    def job_port(self) -> int:
        """That of Beam's job server."""
        return self.port + _PORTS.index("job server")


@dataclass(frozen=True)
class Home:
    """Where the files of a cluster lie.

    Attributes:
        folder: all of them; `tmp` in it is emptied with the cluster, `log` stays.
    """

    folder: Path

    @property
    def conf(self) -> Path:
        """Flink's configuration."""
        return self.folder / "conf"

    @property
    def tmp(self) -> Path:
        """All that the processes write beside logs, and what their workers take for the temporary folder."""
        return self.folder / "tmp"

    @property
    def worker(self) -> Path:
        """The program that starts a worker."""
        return self.folder / "worker"

    @property
    def empty_jar(self) -> Path:
        """All that jobs stage."""
        return self.folder / "empty.jar"

    def log(self, member: str) -> Path:
        """What a process of the cluster, or the workers together, have said."""
        return self.folder / "log" / f"{member}.log"


def members(size: Size, home: Home, jar: Path) -> dict[str, list[str]]:
    """Returns the command of each process of a cluster, by name, in the order in which they are started."""
    if size.engine == "spark":
        master = ["--spark-master-url", f"local[{size.slots}]"]
        server = _job_server(size, home, "org.apache.beam.runners.spark.SparkJobServerDriver", *master)
        return {"jobserver": _java(jar, home, 2048, *server)}
    where = ["--flink-master", f"{HOST}:{size.port}", "--flink-conf-dir", str(home.conf)]
    server = _job_server(size, home, "org.apache.beam.runners.flink.FlinkJobServerDriver", *where)
    entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    return {
        "jobmanager": _java(jar, home, 512, entry, "--configDir", str(home.conf)),
        **{
            f"taskmanager-{number + 1}": _taskmanager(size, home, jar, number + 1)
            for number in range(size.taskmanagers)
        },
        "jobserver": _java(jar, home, 512, *server),
    }


def configuration(size: Size, home: Home) -> str:
    """Returns Flink's config.yaml.

    The one jar is on the class path and, for Flink, a job's own: its classes are taken from the class path alone, or
    they would exist twice. Whoever is lost is missed after eight seconds, and a job begins again three times.
    """
    return f"""\
jobmanager:
  rpc: {{address: {HOST}, port: {size.port + 1}}}
  bind-host: {HOST}
  memory: {{process: {{size: 1024m}}}}
  execution: {{failover-strategy: region}}
taskmanager: {{bind-host: {HOST}, host: {HOST}}}
rest: {{address: {HOST}, bind-address: {HOST}, port: {size.port}, retry: {{max-attempts: 10, delay: 1000}}}}
blob: {{server: {{port: 0}}}}
io: {{tmp: {{dirs: "{home.tmp}"}}}}
classloader: {{resolve-order: parent-first}}
parallelism: {{default: {size.taskmanagers * size.slots}}}
restart-strategy: {{type: fixed-delay, fixed-delay: {{attempts: 3, delay: 1 s}}}}
heartbeat: {{interval: 2000, timeout: 8000}}
"""


def _java(jar: Path, home: Home, heap_mebibytes: int, *arguments: str) -> list[str]:
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    log = ["showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS", "log.org.apache.beam.runners.flink.metrics=warn"]
    log = [f"-Dorg.slf4j.simpleLogger.{setting}" for setting in log]
    # They do little, and much of that at their start: the second compiler alone would take as long as all else.
    light = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return [
        "java",
        f"-Xmx{heap_mebibytes}m",
        *light,
        f"-Djava.io.tmpdir={home.tmp}",
        *opened,
        *log,
        "-cp",
        str(jar),
        *arguments,
    ]


def _job_server(size: Size, home: Home, *arguments: str) -> list[str]:
    ports = {"--job-port": size.job_port, "--artifact-port": size.job_port + 1, "--expansion-port": size.job_port + 2}
    given = [word for option, port in ports.items() for word in (option, str(port))]
    launcher = ["JobServer", str(home.empty_jar)]
    return [*launcher, *arguments, "--job-host", HOST, *given, "--artifacts-dir", str(home.tmp / "artifacts")]


def _taskmanager(size: Size, home: Home, jar: Path, number: int) -> list[str]:
    """A TaskManager that is not started by Flink's scripts wants to be told the size of each part of its memory."""
    mebibytes: dict[str, int] = {
        "framework.heap.size": 128, "task.heap.size": 192, "framework.off-heap.size": 128, "task.off-heap.size": 0,
        "network.min": 80, "network.max": 80, "managed.size": 128, "jvm-metaspace.size": 256,
        "jvm-overhead.min": 192, "jvm-overhead.max": 192,
    }  # fmt: skip
    settings = {
        "taskmanager.resource-id": f"taskmanager-{number}",
        "taskmanager.numberOfTaskSlots": size.slots,
        "taskmanager.cpu.cores": f"{size.slots}.0",
        **{f"taskmanager.memory.{part}": f"{value * _MEBIBYTE}b" for part, value in mebibytes.items()},
    }
    given = [word for name, value in settings.items() for word in ("-D", f"{name}={value}")]
    runner = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    limits = ["-XX:MaxDirectMemorySize=224m", "-XX:MaxMetaspaceSize=256m"]
    return ["java", *limits, *_java(jar, home, 320, runner, "--configDir", str(home.conf), *given)[1:]]
