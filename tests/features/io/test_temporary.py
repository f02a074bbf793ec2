"""Nothing of a process stays in the temporary folder, however its code ends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENDS = {
    "by itself": "pass",
    "a child that ends first": "os.waitpid(child, 0) if (child := os.fork()) else sys.exit()\n"
    "assert os.listdir(temporary_folder())",
    "a command that fails": "from features.runtime.command import _end\n_end(2)",
    "a worker": "from types import SimpleNamespace\nfrom pipelines.local.worker_main import END, NUMBER, _work\n"
    "def begin():\n"
    "    open(temporary_folder() + '/of-the-worker', 'w').close()\n"
    "    return SimpleNamespace(finish=lambda: None, close=lambda: None)\n"
    "requests, driver = os.pipe()\n"
    "os.write(driver, NUMBER.pack(END))\n"
    "child = os.fork() or _work(begin, [], requests, driver)\n"
    "os.waitpid(child, 0)\n"
    "assert os.listdir(temporary_folder()) == ['file']\n"
    "assert len(os.listdir(os.environ['TMPDIR'])) == 1",
    "its parent died": "from features.runtime.parent_watch import _watch\n_watch(-1)",
}


@pytest.mark.parametrize("ends", ENDS)
def test_what_a_process_leaves_goes_with_it(ends, tmp_path):
    begins = "import os, sys\nfrom features.io.temporary import temporary_folder\n"
    begins += "open(temporary_folder() + '/file', 'w').close()\nassert len(os.listdir(os.environ['TMPDIR'])) == 1\n"
    code = f"{begins}{ENDS[ends]}\n"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3],
                         env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert "Error" not in run.stderr, run.stderr
    assert os.listdir(tmp_path) == []
