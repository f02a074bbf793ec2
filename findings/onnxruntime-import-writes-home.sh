#!/usr/bin/env bash
# Expected: `import onnxruntime` on Linux writes nothing and sends nothing. For years only the builds for Windows had telemetry, and what a
# library wants to tell of sessions it can tell no earlier than with the first session; `onnxruntime.disable_telemetry_events()` is the switch.
# Seen (onnxruntime 1.32.0, Python 3.11.7, Debian 12, x86-64): the import alone, without a session, makes
# `~/.cache/Microsoft/DeveloperTools/.onnxruntime/` (XDG_CACHE_HOME moves it) with `deviceid`, a random UUID that later imports keep, and
# `onnxruntime.db`, an SQLite file of events that wait to be sent, and a file `.ses` in the folder for temporary files. The event
# `ProcessInfo` holds the path of the Python that runs, system, processor and kind of container. `disable_telemetry_events()` and the
# variable set after the import come too late: files and event are there. ORT_DISABLE_TELEMETRY=1 (or true; not 0 or empty)
# before the import prevents all of it; DO_NOT_TRACK does not. With CI=true it is silent, so no CI service shows what users get.
# Who meets it: home folders that are shared, read-only (a warning on stderr, at each import) or compared before and after; whoever
# promises that nothing leaves the machine, and any package that imports onnxruntime for him.
# Where from: pull request 27379 of microsoft/onnxruntime ("Add POSIX telemetry"), in releases since 1.29; the file Privacy.md in the wheel.
# Needs `unshare`: the imports run without a network, so that nothing is sent from here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 numpy==2.4.6
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import contextlib
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

STORE = "home/.cache/Microsoft/DeveloperTools/.onnxruntime"
IMPORT = "import onnxruntime"
API = f"{IMPORT}; onnxruntime.disable_telemetry_events()"
LATE = f"{IMPORT}, os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; onnxruntime.SessionOptions()"


def written(code, **variables):
    """Returns what files a new process writes whose home and temporary folder are empty, and the payloads of waiting events."""
    place = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    for name in ("home", "tmp", "work"):
        (place / name).mkdir()
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", code],
        cwd=place / "work",
        env={"PATH": os.environ["PATH"], "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), **variables},
        check=True,
    )
    files = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    events = []
    if (place / STORE / "onnxruntime.db").exists():
        with contextlib.closing(sqlite3.connect(place / STORE / "onnxruntime.db")) as database:
            events = [payload for (payload,) in database.execute("SELECT payload FROM events")]
    return files, events


print(f"onnxruntime {version('onnxruntime')}, Python {platform.python_version()}, {platform.machine()}")
as_described = True
for title, code, variables, writes in (
    ("import", IMPORT, {}, True),
    ("import, and the API's switch", API, {}, True),
    ("import, and the variable after it", LATE, {}, True),
    ("import with ORT_DISABLE_TELEMETRY=0", IMPORT, {"ORT_DISABLE_TELEMETRY": "0"}, True),
    ("import with DO_NOT_TRACK=1", IMPORT, {"DO_NOT_TRACK": "1"}, True),
    ("import with ORT_DISABLE_TELEMETRY=1", IMPORT, {"ORT_DISABLE_TELEMETRY": "1"}, False),
    ("import with CI=true", IMPORT, {"CI": "true"}, False),
):
    files, events = written(code, **variables)
    told = any(b"ProcessInfo" in payload and sys.executable.encode() in payload for payload in events)
    print(f"{title}: {', '.join(files) or 'nothing'}; ProcessInfo with the path of Python waits: {told}")
    if writes:
        as_described &= told and {f"{STORE}/deviceid", f"{STORE}/onnxruntime.db", "tmp/.ses"} <= set(files)
    else:
        as_described &= not files
sys.exit(not as_described)
PYTHON
