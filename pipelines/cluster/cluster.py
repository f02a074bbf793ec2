"""A cluster in a folder: started, brought back to what it shall be, and ended with all that it has left."""

import contextlib
import fcntl
import json
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from features.errors import RunError, UsageError
from features.io.atomic import write_file
from features.runtime.log import LOG
from features.runtime.processes import python_command, python_environment
from pipelines.cluster.jars import build_jar, write_empty_jar
from pipelines.cluster.marked import MARK, end_marked, is_marked, marked
from pipelines.cluster.members import HOST, Home, Size, configuration, members

_READY_SECONDS = 120.0
_GRACE_SECONDS = 3.0
_ENDING_SECONDS = 20.0
_POLL_SECONDS = 0.1
_OLDEST_JAVA = 11


@dataclass(frozen=True)
class State:
    """What is noted of a cluster that runs.

    Attributes:
        size: what it was asked to be.
        mark: which all of its processes carry, and all that these start.
        processes: the id of each of its own processes, by name.
    """

    size: Size
    mark: str
    processes: dict[str, int]

    @property
    def lost(self) -> list[str]:
        """The names of processes that have ended."""
        return [name for name, process in self.processes.items() if not is_marked(process, self.mark)]


class Cluster:
    """A cluster whose files are in one folder."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder; it may not exist yet."""
        self._home = Home(folder.absolute())
        self._note = self._home.folder / "cluster.json"

    def state(self) -> State | None:
        """Returns what is noted of the cluster, None where none was started or it was stopped."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return State(Size(**note["size"]), note["mark"], note["processes"])

    def start(self, size: Size) -> State:
        """Starts each process that does not run, and waits until the cluster is ready for jobs.

        So it starts a cluster, brings back a process that died, and adds TaskManagers. A cluster that does not become
        ready is stopped again, unless it ran before.

        Args:
            size: what it shall be; of a cluster that runs, only the number of TaskManagers can grow.

        Raises:
            UsageError: a port is in use, or a cluster of another size runs.
            RunError: a program is missing, or the cluster does not become ready.
        """
        with self._alone():
            before = self.state()
            _check_java()
            jar = build_jar(self._home.folder / "jars", size.engine)
            if before is None:
                _check_ports(size)
                self._prepare(size)
                state = State(size, secrets.token_hex(16), {})
            else:
                state = _grown(before, size, self._home.folder)
            try:
                state = self._start_lost(state, jar)
                self._wait(state)
            except BaseException:
                if before is None:
                    self._stop(self.state() or state)
                raise
        return state

    def stop(self) -> int:
        """Ends the cluster and all that its processes have started, and removes its temporary folder.

        Returns:
            How many processes were ended.

        Raises:
            RunError: a process cannot be killed.
        """
        if not self._home.folder.is_dir():
            return 0
        with self._alone():
            state = self.state()
            return self._stop(state) if state else 0

    def options(self, size: Size) -> list[str]:
        """Returns the options with which featurize and score run on the cluster."""
        options: dict[str, object] = {
            "runner": "PortableRunner",
            "job_endpoint": f"{HOST}:{size.job_port}",
            "environment_type": "PROCESS",
            "environment_option": f"process_command={self._home.worker}",
        }
        if size.engine == "flink" and size.slots > 1:  # else the tasks of one TaskManager share one Python process
            options["sdk_worker_parallelism"] = size.slots
        return [f"--{name}={value}" for name, value in options.items()]

    def log(self, member: str) -> Path:
        """Returns where the log of a process lies; `workers` is that of all workers."""
        return self._home.log(member)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._home.folder.mkdir(parents=True, exist_ok=True)
        with open(self._home.folder / "lock", "a", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"the cluster in {self._home.folder} is being started or stopped by another") from None
            yield

    def _prepare(self, size: Size) -> None:
        home = self._home
        for folder in (home.tmp, home.log("").parent):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        home.conf.mkdir(exist_ok=True)
        write_file(home.conf / "config.yaml", configuration(size, home))
        write_empty_jar(home.empty_jar)
        # The runner has what its workers say thrown away.
        command = f'exec {shlex.join(python_command("pipelines.beam.cluster_worker"))} "$@"'
        log = shlex.quote(str(home.log("workers")))
        write_file(home.worker, f"#!/bin/sh\n{command} >>{log} 2>&1\n")
        home.worker.chmod(0o755)

    def _start_lost(self, state: State, jar: Path) -> State:
        commands = members(state.size, self._home, jar)
        processes = {name: process for name, process in state.processes.items() if name not in state.lost}
        for name, command in commands.items():
            if name not in processes:
                with open(self._home.log(name), "ab") as log:
                    process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home.tmp,
                        env=python_environment(**{MARK: state.mark}, TMPDIR=str(self._home.tmp)),
                        start_new_session=True,  # Ctrl-C in the terminal is not for it
                    )  # fmt: skip
                processes[name] = process.pid
                state = State(state.size, state.mark, {each: processes[each] for each in commands if each in processes})
                write_file(self._note, json.dumps(asdict(state), indent=2) + "\n")
        return state

    def _wait(self, state: State) -> None:
        ready: dict[str, Callable[[], bool]] = {"jobserver": lambda: _answers(state.size.job_port)}
        if state.size.engine == "flink":
            ready = {"jobmanager": lambda: _slots(state.size) is not None,
                     "TaskManagers": lambda: (_slots(state.size) or 0) >= state.size.taskmanagers * state.size.slots,
                     **ready}  # fmt: skip
        end = time.monotonic() + _READY_SECONDS
        for name, is_ready in ready.items():
            while not is_ready():
                if lost := state.lost:
                    raise RunError(f"{lost[0]} has ended: {self._last_words(lost[0])}; see {self._home.log(lost[0])}")
                if time.monotonic() > end:
                    raise RunError(f"{name} is not ready after {_READY_SECONDS:.0f} s; see {self._home.log('').parent}")
                time.sleep(_POLL_SECONDS)

    def _last_words(self, member: str) -> str:
        lines = self._home.log(member).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"Exception|Error|ERROR", line)]
        return next(iter(errors or lines[-1:]), "without a word").strip()

    def _stop(self, state: State) -> int:
        count = len(marked(state.mark))
        if left := end_marked(state.mark, _GRACE_SECONDS, _ENDING_SECONDS):
            raise RunError(f"these processes of the cluster do not end: {', '.join(map(str, sorted(left)))}")
        shutil.rmtree(self._home.tmp, ignore_errors=True)
        self._note.unlink(missing_ok=True)
        return count


def _grown(before: State, size: Size, folder: Path) -> State:
    same = Size(size.engine, before.size.taskmanagers, size.slots, size.port)
    if same != before.size or size.taskmanagers < before.size.taskmanagers:
        raise UsageError(f"a cluster of another size runs in {folder} ({before.size}); stop it first")
    return State(size, before.mark, before.processes)


def _check_java() -> None:
    java = shutil.which("java")
    if java is None:
        raise RunError(f"no java is on the PATH: the cluster needs Java {_OLDEST_JAVA} or newer (17 is tested)")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        text = version[1] if version else repr(said[:80])
        raise RunError(f"the cluster needs Java {_OLDEST_JAVA} or newer (17 is tested), and {java} is {text}")


def _check_ports(size: Size) -> None:
    for port, name in size.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java's servers do
            try:
                probe.bind((HOST, port))
            except OSError as error:
                last = max(size.ports)
                raise UsageError(
                    f"port {port} ({name}) is not free: {error.strerror}; the cluster takes {size.port} to {last}, "
                    "another --port (make: PORT=) others"
                ) from error
    LOG.debug("ports %d to %d are free", size.port, max(size.ports))


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _slots(size: Size) -> int | None:
    """Returns how many tasks Flink can run at once, None while it does not answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is behind no proxy
    try:
        with direct.open(f"http://{HOST}:{size.port}/overview", timeout=2) as answer:
            return int(json.load(answer)["slots-total"])
    except (OSError, ValueError, KeyError):
        return None
