"""Units that note who does them, and a command that has some done: python -m tests.pipelines.local.notes FOLDER."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from features.errors import RunError
from features.runtime import command
from features.store.locks import claim
from pipelines.local.units import local_units

UNITS = 40
EXAMPLE = "python -m tests.pipelines.local.notes FOLDER"


class Noting:
    """Writes a file for each unit, which says what process did it."""

    def __init__(
        self, folder: str, driver: int = 0, command_line: str = "", padding: bytes = b"", together: int = 0
    ) -> None:
        """Takes what to note, and how many processes have to be at a unit before one is done."""
        self._folder, self._driver, self._command, self._padding = Path(folder), driver, command_line, padding
        self._together = together

    def work(self, unit: object) -> None:
        if unit == "wrong":
            raise ValueError("of a unit")
        if unit == "full":
            raise RunError("no space is left; make room")
        if unit == "dies":
            while not list(self._folder.glob("stays-*")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "stays":
            with open(self._folder / f"stays-{os.getpid()}", "ab", buffering=0) as file:
                for _ in range(30_000):  # 300 s
                    file.write(b".")
                    time.sleep(0.01)
        said = {
            "process": os.getpid(),
            "grandparent": int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]),
            "command": Path("/proc/self/cmdline").read_bytes().decode(),
            "driver": self._driver,
            "driver_command": self._command,
            "modules": "soundfile" in sys.modules,
            "ctrl_c": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        }
        if self._together:
            (self._folder / f"at-work-{os.getpid()}").touch()
            while len(list(self._folder.glob("at-work-*"))) < self._together:
                time.sleep(0.01)
        (self._folder / f"{unit:05d}.json").write_text(json.dumps(said))

    def finish(self) -> None:
        (self._folder / f"finished-{os.getpid()}").touch()

    def close(self) -> None:
        (self._folder / f"closed-{os.getpid()}").touch()


class Counting:
    """Appends a byte to a file for each unit."""

    def __init__(self, folder: str) -> None:
        self._file = open(f"{folder}/counted-{os.getpid()}", "ab", buffering=0)  # noqa: SIM115

    def work(self, unit: int) -> None:
        self._file.write(f"{unit}\n".encode())

    def finish(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class Begun:
    """What makes one of these: a class and its arguments."""

    def __init__(self, kind: type, *arguments: object) -> None:
        self._kind, self._arguments = kind, arguments

    def __call__(self) -> object:
        return self._kind(*self._arguments)


def load() -> None:
    import soundfile  # noqa: F401


def main(options: argparse.Namespace, _: list[str]) -> int:
    with local_units(2, []) as local, claim(Path(options.folder) / "held", "score", "x") as lease:
        local.expect(False, load)
        line = Path("/proc/self/cmdline").read_bytes().decode()
        local.do(Begun(Noting, options.folder, os.getpid(), line, b"", 2), range(UNITS), False, lease, load)
    return 0


def parser() -> argparse.ArgumentParser:
    result = command.parser("Notes.", EXAMPLE)
    result.add_argument("folder")
    return result


if __name__ == "__main__":
    command.run(main, parser())
