"""Watches what processes look up in the network, and what they write into the home folder."""

import os
from pathlib import Path

# In every Python process that finds this module, and in those that it forks: names are looked up through these calls.
_SITE = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        with open({log!r}, "a") as log:
            print(event, arguments[0], " ".join(sys.orig_argv), file=log)
        raise OSError("no name is looked up in this test")

sys.addaudithook(refuse)
"""
# By their presence openvino_telemetry takes a process for one of a CI service, and is silent.
_CI = {"CI", "TF_BUILD", "JENKINS_URL"}
_LOCAL = {"localhost", "127.0.0.1", "::1", "None"}


class NetworkWatch:
    """An environment for processes whose look-ups are refused and noted, and whose home folder is empty at first.

    A look-up that a process begins in a thread or a child before it ends is noted when it has ended, if it ends as
    usual: Python waits for the threads of pools.
    """

    def __init__(self, folder: Path) -> None:
        site, self._home, self._log = folder / "site", folder / "home", folder / "lookups.log"
        site.mkdir()
        self._home.mkdir()
        (site / "sitecustomize.py").write_text(_SITE.format(log=str(self._log)), encoding="utf-8")
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        kept = {name: value for name, value in os.environ.items() if name not in _CI}
        self.environment = {**kept, "HOME": str(self._home), "PYTHONPATH": os.pathsep.join(paths)}

    def attempts(self) -> list[str]:
        """The look-ups of names of other machines, each with the process that made it."""
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return [line for line in lines if line.split()[1] not in _LOCAL]

    def written_into_home(self) -> list[str]:
        """The files and folders in the home folder."""
        return sorted(str(path.relative_to(self._home)) for path in self._home.rglob("*"))
