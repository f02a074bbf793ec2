"""What Flink's REST server says of a cluster and of a job, and the way to cancel one. Importing this loads no Beam."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from features.errors import UsageError
from pipelines.beam.failures import failure_root

_ANSWER_SECONDS = 4.0
_ENDED = ("FINISHED", "CANCELED", "FAILED")
_NOT_RESTARTED = "org.apache.flink.runtime.JobException"  # once more, when a job has failed too often
_IN_PLACE_OF_A_MASTER = ("[auto]", "[local]", "[collection]")


@dataclass(frozen=True)
class FlinkJob:
    """A job as Flink has it.

    Attributes:
        number: its id.
        state: `RUNNING`, `RESTARTING` and so on.
        waiting: tasks that have no slot yet.
    """

    number: str
    state: str
    waiting: int

    @property
    def has_ended(self) -> bool:
        """Whether none of its tasks will run again."""
        return self.state in _ENDED


class FlinkMaster:
    """The REST server of a Flink cluster, as `--flink_master` names it.

    What asks it raises `OSError` where it does not answer, and `ValueError` or `LookupError` where Flink does not.
    """

    def __init__(self, address: str) -> None:
        """Keeps the address, `HOST:PORT` with or without `http://`; raises `UsageError` where it is none."""
        parts = urlsplit(address if "://" in address else f"http://{address}")
        try:
            self._host, self._port, self._secure = parts.hostname, parts.port, parts.scheme == "https"
        except ValueError:
            self._host = None
        if not self._host:
            raise UsageError(f"--flink_master is HOST:PORT of Flink's REST server, not {address!r}")
        self.address = address

    @property
    def overview(self) -> dict[str, Any]:
        """Numbers of TaskManagers and slots, and Flink's version."""
        return self._ask("GET", "/overview")

    def check(self) -> str:
        """Returns Flink's version; raises `UsageError` where no Flink answers."""
        try:
            return str(self.overview["flink-version"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(f"no Flink answers at {self.address} ({_said(error)}); --flink_master is HOST:PORT of its "
                             "REST server, 8081 where nothing else is set") from error  # fmt: skip

    @property
    def jobs(self) -> dict[str, FlinkJob]:
        """The jobs by name, of several of one name the last one that began."""
        jobs = sorted(self._ask("GET", "/jobs/overview")["jobs"], key=lambda job: int(job["start-time"]))
        return {
            job["name"]: FlinkJob(job["jid"], job["state"], job["tasks"]["scheduled"] + job["tasks"]["created"])
            for job in jobs
        }

    def failures(self, number: str) -> dict[int, str]:
        """Returns why a job was restarted, one line for each time, by that time in ms since the epoch."""
        entries = self._ask("GET", f"/jobs/{number}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return {
            int(entry["timestamp"]): failure_root(str(entry.get("stacktrace") or entry["exceptionName"]))
            for entry in entries
            if entry["exceptionName"] != _NOT_RESTARTED
        }

    def cancel(self, number: str) -> None:
        """Has a job cancelled, which takes a while."""
        self._ask("PATCH", f"/jobs/{number}?mode=cancel")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        # Without a proxy, as Flink's own client asks.
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(str(self._host), self._port, timeout=_ANSWER_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            content: dict[str, Any] = json.loads(answer.read() or b"{}")
            if answer.status >= http.client.BAD_REQUEST:
                raise ValueError(f"HTTP {answer.status}")
            return content
        except http.client.HTTPException as error:
            raise ValueError(f"no answer of HTTP: {error!r}") from error
        finally:
            connection.close()


def flink_master(address: str | None) -> FlinkMaster | None:
    """Returns the master that an option names, None where it leaves it to the job server."""
    return FlinkMaster(address) if address and address.strip() not in _IN_PLACE_OF_A_MASTER else None


def _said(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text if isinstance(error, OSError) and text else "what answers there is no Flink"
