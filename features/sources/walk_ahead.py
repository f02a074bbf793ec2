"""Walks the folder of a command in a process of its own, begun before the libraries of the command are loaded.

To load them takes as long as to look at a hundred thousand files, and on another core both are done at once. The
process is forked of one that has loaded next to nothing, so this file and what it imports load next to nothing either.
What the walk finds comes through a pipe as it is found. Where anything goes wrong there, the command walks itself.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from features.sources.folder_walk import FolderFiles, Passed

# What has been found and not been asked for is held by the process; from so many bytes on it waits.
_MOST_HELD_BYTES = 2**24
_WRITTEN_BYTES = 2**16
_LENGTH_BYTES = 8
# A command that had to wait for another one lists what is there then.
_LONGEST_AGE_NS = 60 * 10**9
_MODULES = ("pipelines.featurize",)


class _Begun(NamedTuple):
    root: bytes
    process: int
    pipe: int
    began_ns: int


_begun: _Begun | None = None


def begin(arguments: Sequence[str]) -> None:
    """Begins to walk the folder of `--input`, where there is one; for a command's own process, before all else.

    Args:
        arguments: of the command line.
    """
    global _begun
    root = _folder_of(arguments)
    if root is None:
        return
    began_ns = time.time_ns()
    pipe, write_to = os.pipe()
    driver = os.getpid()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is the command's
    try:
        process = os.fork()
        if not process:
            os.close(pipe)
            _find(root, write_to, driver)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.close(write_to)
    _begun = _Begun(root, process, pipe, began_ns)


def began_ns() -> int:
    """Returns when the listing of files began, in nanoseconds since the epoch: now, if it has not begun before."""
    return time.time_ns() if _begun is None else _begun.began_ns


def take(root: bytes) -> "Iterator[FolderFiles | Passed] | None":
    """Returns what was found below a root, None where that is not being walked.

    What it returns raises `EOFError` where the walk has not come to its end.
    """
    if _begun is None or _begun.root != root or time.time_ns() - _begun.began_ns > _LONGEST_AGE_NS:
        return None
    return _found(_begun.pipe)


def leave() -> None:
    """Ends the process, if there is one; what it has found and was not taken is not asked for any more."""
    global _begun
    if _begun is not None:
        os.kill(_begun.process, signal.SIGKILL)
        os.waitpid(_begun.process, 0)
        os.close(_begun.pipe)
        _begun = None


def _folder_of(arguments: Sequence[str]) -> bytes | None:
    """Returns the folder of a command line as `features.sources.paths.absolute_path` gives it."""
    given = [*arguments, ""]
    values = [text[len("--input=") :] if text.startswith("--input=") else given[place + 1]
              for place, text in enumerate(arguments) if text == "--input" or text.startswith("--input=")]  # fmt: skip
    if not values or ".." in values[-1].split("/"):  # what that leads to, behind a link, is not in the text
        return None
    root = os.path.normpath(os.path.join(os.getcwd(), values[-1]))
    return os.fsencode(root) if values[-1] and os.path.isdir(root) else None


def _find(root: bytes, write_to: int, driver: int) -> NoReturn:
    """Writes what there is below a root into a pipe, in a process of its own."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):  # who waits for the end of what the command says does not wait for this
            os.dup2(nothing, descriptor)
        from features.sources.folder_walk import FolderFiles, walk_folders

        held = bytearray()
        written = 0
        for part in walk_folders(root):
            if isinstance(part, FolderFiles):
                held += _packed(part.prefix, b"\0".join(part.names), part.sizes.tobytes(), part.mtimes_ns.tobytes(),
                                b"leaf" if part.is_leaf else b"")  # fmt: skip
            else:
                held += _packed(_passed_text(part))
            if os.getppid() != driver:
                break
            if len(held) - written > _WRITTEN_BYTES:
                written = _write(write_to, held, wait=len(held) > _MOST_HELD_BYTES)
        _write(write_to, held, wait=True)
        code = 0
    finally:
        os._exit(code)  # whatever it was: the command does it again and says so


def _write(pipe: int, held: bytearray, wait: bool) -> int:
    """Writes what is held and takes it out, all or as much as the pipe takes; returns how many bytes are left."""
    os.set_blocking(pipe, wait)
    first = 0
    try:
        with memoryview(held) as view:
            while first < len(view):
                first += os.write(pipe, view[first:])
    except BlockingIOError:
        pass
    del held[:first]
    return len(held)


def _found(pipe: int) -> "Iterator[FolderFiles | Passed]":
    from array import array

    from features.sources.folder_walk import FolderFiles

    with open(pipe, "rb", buffering=2**20, closefd=False) as file:
        while True:
            parts = _unpacked(file)
            if len(parts) == 1:
                yield _passed(parts[0])
                return
            prefix, names, sizes, mtimes_ns, leaf = parts
            # No name is empty, and none has the byte that stands between them.
            listed = names.split(b"\0") if names else []
            yield FolderFiles(prefix, listed, array("q", sizes), array("q", mtimes_ns), bool(leaf))


def _packed(*parts: bytes) -> bytes:
    """Returns a message of some parts, which `_unpacked` reads."""
    numbers = [len(parts), *map(len, parts)]
    return b"".join([number.to_bytes(_LENGTH_BYTES, "little") for number in numbers] + [*parts])


def _unpacked(file: IO[bytes]) -> list[bytes]:
    """Returns the parts of the next message; raises `EOFError` where it is not whole."""
    count = int.from_bytes(_whole(file, _LENGTH_BYTES), "little")
    lengths = [int.from_bytes(_whole(file, _LENGTH_BYTES), "little") for _ in range(count)]
    return [_whole(file, length) for length in lengths]


def _whole(file: IO[bytes], length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise EOFError("the walk has not come to its end")
    return content


def _passed_text(passed: "Passed") -> bytes:
    import json

    failures = [(os.fsdecode(path), number, words) for path, number, words in passed.failures]
    return json.dumps([passed.left_out, failures, [os.fsdecode(name) for name in passed.folders]]).encode()


def _passed(text: bytes) -> "Passed":
    import json
    from collections import Counter

    from features.sources.folder_walk import Passed

    left_out, failures, folders = json.loads(text)
    return Passed(Counter(left_out), [(os.fsencode(path), number, words) for path, number, words in failures],
                  [os.fsencode(name) for name in folders])  # fmt: skip


def _is_command() -> bool:
    """Returns whether this process was started as `python -m` with a command that lists a folder."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name in _MODULES


if _is_command():
    begin(sys.argv[1:])
