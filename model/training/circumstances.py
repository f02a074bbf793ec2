"""When, on what machine and from which commit of the code a training was begun, for its record."""

import contextlib
import datetime
import platform
import subprocess
from pathlib import Path

from features.runtime.processes import usable_cores

_CODE = Path(__file__).parents[2]
_GIT_SECONDS = 10.0


def circumstances() -> dict[str, str | int | None]:
    """Returns what the record of a training says of where and when it was begun; nothing else depends on it.

    Returns:
        `begun` in UTC as ISO 8601 writes it; `machine`, its system and processor; `cores` that the process may use; and
        `commit` of the code, with `+` behind it where files of that were changed, None where it is an installed wheel.
    """
    return {
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.release()}, {_processor()}",
        "cores": usable_cores(),
        "commit": code_commit(_CODE),
    }


def code_commit(folder: Path) -> str | None:
    """Returns the commit of a folder of code with `+` behind it where it was changed, None where it has none."""
    if not (folder / ".git").exists():  # a wheel that lies within somebody else's repository is not of its commit
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    return result.stdout.strip()


def _processor() -> str:
    """Returns the name of the processor as Linux has it, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
