"""Object stores: S3 and what speaks its language, Google Cloud Storage, Azure. Only S3 is tested.

Credentials, endpoint and region come from the environment that other programs of the store read. An object appears
whole, by one request; nothing is streamed into one. `obstore` sends a request again that was not answered, was answered
by 5xx or was cut off; an answer that is cut off in its middle is asked for again here.
"""

import contextlib
import functools
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from features.errors import UsageError
from features.io.atomic import AtomicFile
from features.io.entry import AnyPath, Entry
from features.io.store_errors import (
    ChangedError,
    CutError,
    PlaceError,
    begin_use,
    endpoint,
    first_line,
    is_cut,
    refuses_credentials,
    status_of,
    translated,
)
from features.io.upload import Upload

_CONNECTIONS = 128  # that are kept for the next request
# One request writes so much at most, a rule of S3's; more goes in parts.
_MOST_BYTES = 5 * 2**30 - 1
_ATTEMPTS = 6  # where connections end within an answer
_FIRST_ANSWER_SECONDS = 6
_PATIENCE_SECONDS = 180
_PAGE = 1000
# Names that the library cannot say, or says as those of other objects.
_UNNAMEABLE = re.compile(r"(?:^|/)(?:\.{0,2})(?:/|$)|[\x00-\x1f\x7f]")

_Result = TypeVar("_Result")


def object_store(uri: str) -> "ObjectStore":
    """Returns the store of a place; one of a bucket serves the whole process.

    Raises:
        PlaceError: it names no bucket.
    """
    scheme, _, rest = uri.partition("://")
    bucket = rest.partition("/")[0]
    if not bucket:
        raise PlaceError(f"{uri} names no bucket; it is {scheme}://BUCKET/NAME")
    return _store(f"{scheme}://{bucket}", os.getpid())


@functools.cache
def _store(base: str, process: int) -> "ObjectStore":
    """Returns the store of a bucket; connections are a process's own."""
    return ObjectStore(base)


class ObjectStore:
    """The objects of one bucket; a folder is what their names have before a `/`. See `Filesystem`."""

    is_local = False

    def __init__(self, base: str) -> None:
        """Keeps the bucket; nothing is asked of it yet.

        Args:
            base: scheme and bucket, `s3://BUCKET`.
        """
        self._base = base

    def read(self, path: AnyPath, version: str | None = None) -> bytes:
        """See `Filesystem`."""
        return self.fetch(path, version)[0]

    def fetch(self, path: AnyPath, version: str | None = None) -> tuple[bytes, Entry]:
        """See `Filesystem`."""
        import obstore

        def whole() -> tuple[bytes, Entry]:
            result = obstore.get(self._store, key, options={"if_match": version} if version else None)
            content = result.bytes()
            if len(content) != result.meta["size"]:
                raise CutError(f"{len(content)} of {result.meta['size']} bytes came")
            return content.to_bytes(), self._entry(result.meta)

        key = self._key(path)
        return self._again(path, whole)

    def read_range(self, path: AnyPath, start: int, length: int) -> bytes:
        """See `Filesystem`."""
        import obstore

        def part() -> bytes:
            try:
                return obstore.get_range(self._store, key, start=start, length=length).to_bytes()
            except Exception as error:
                if status_of(error) == 416:
                    return b""
                raise

        key = self._key(path)
        return self._again(path, part) if length else b""

    def list(self, folder: AnyPath, recursive: bool = True) -> Iterator[Entry]:
        """See `Filesystem`; pages are asked for as they are needed."""
        import obstore

        prefix = self._key(os.fspath(folder).rstrip("/"), is_folder=True)

        def entries(metas: Iterable[Any]) -> Iterator[Entry]:
            # Programs that show folders mark one by an object of its name and a `/`, which is no file in it.
            return (self._entry(meta) for meta in metas if meta["path"] != prefix)

        if not recursive:
            one_level = functools.partial(obstore.list_with_delimiter, self._store, prefix or None)
            yield from entries(self._again(folder, one_level)["objects"])
            return
        pages, last = None, None

        def next_page() -> Any:
            nonlocal pages
            try:
                # What was cut off goes on behind the last object that came.
                pages = pages or obstore.list(self._store, prefix or None, offset=last, chunk_size=_PAGE)
                return next(pages, None)
            except Exception:
                pages = None
                raise

        while page := self._again(folder, next_page):
            yield from entries(page)
            last = page[-1]["path"]

    def status(self, path: AnyPath) -> Entry:
        """See `Filesystem`."""
        import obstore

        key = self._key(path)
        with translated(self._base, path):
            return self._entry(obstore.head(self._store, key))

    def begin(self, path: AnyPath, durable: bool = True) -> AtomicFile:
        """See `Filesystem`; what is written is a file of this machine until it is whole."""
        self._key(path)
        return Upload(self.write, path)

    def write(self, path: AnyPath, content: bytes | str | Path) -> None:
        """See `Filesystem`."""
        if not isinstance(content, Path):
            self._put(path, content.encode() if isinstance(content, str) else content)
            return
        size = content.stat().st_size
        with open(content, "rb") as file:
            if not size:
                self._put(path, b"")
            elif size <= _MOST_BYTES:
                # One request: nothing is left of one that did not end, and the file is not held in memory.
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                    self._put(path, view)
            else:
                self._put(path, content, use_multipart=True)

    def create(self, path: AnyPath, content: bytes) -> str:
        """See `Filesystem`."""
        return self._put_if(path, content, "create")

    def replace(self, path: AnyPath, content: bytes, version: str) -> str:
        """See `Filesystem`."""
        return self._put_if(path, content, self._still(path, version))

    def delete(self, path: AnyPath) -> None:
        """See `Filesystem`."""
        import obstore

        key = self._key(path)
        with contextlib.suppress(FileNotFoundError), translated(self._base, path):
            obstore.delete(self._store, key)

    def now_ns(self, path: AnyPath) -> int:
        """See `Filesystem`."""
        self.write(path, b"")
        try:
            return self.status(path).mtime_ns
        finally:
            self.delete(path)

    @functools.cached_property
    def _store(self) -> Any:
        """The library's store, which has answered once: a wrong endpoint, bucket or key is told within seconds."""
        import obstore

        begin_use()
        first = self._open(_FIRST_ANSWER_SECONDS)
        with translated(self._base, self._base, is_first=True):
            try:
                next(iter(obstore.list(first, "soundmill-asks-whether-the-bucket-is-there")), None)
            except Exception as error:
                # Who may read and not list is told what is not allowed where that is asked for.
                if status_of(error) != 403 or refuses_credentials(error):
                    raise
        return self._open(_PATIENCE_SECONDS)

    def _open(self, patience_seconds: float) -> Any:
        from obstore.store import from_url

        patience = timedelta(seconds=patience_seconds)
        options: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=3),
            "timeout": patience,  # of a request with its body
            "pool_max_idle_per_host": str(_CONNECTIONS),
        }
        if (endpoint() or "").startswith("http://"):
            options["allow_http"] = True
        backoff = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2}
        retries = {"max_retries": 12, "retry_timeout": patience, "backoff": backoff}
        try:
            return from_url(self._base, client_options=options, retry_config=retries)  # type: ignore[call-overload]
        except Exception as error:
            raise UsageError(f"cannot use {self._base}: {first_line(error)}") from error

    def _key(self, path: AnyPath, is_folder: bool = False) -> str:
        """Returns the name of an object within the bucket; raises `PlaceError` for one that cannot be said."""
        path = os.fspath(path)
        if path != self._base and not path.startswith(f"{self._base}/"):
            raise ValueError(f"{path} is not in {self._base}")
        key = path[len(self._base) + 1 :]
        if is_folder and not key:
            return key
        if _UNNAMEABLE.search(key):
            raise PlaceError(f"{path}: the name of an object has no empty part, none of . or .., and no control "
                             "character; give it another name")  # fmt: skip
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise PlaceError(f"{os.fsencode(path)!r}: the name of an object is UTF-8; give it another name") from error
        return key

    def _entry(self, meta: Any) -> Entry:
        mtime_ns = round(meta["last_modified"].timestamp() * 1e6) * 1_000
        return Entry(f"{self._base}/{meta['path']}", meta["size"], mtime_ns, meta["e_tag"] or "")

    def _put(self, path: AnyPath, content: Any, use_multipart: bool = False, **mode: Any) -> str:
        import obstore

        key = self._key(path)
        put = self._again(path, lambda: obstore.put(self._store, key, content, use_multipart=use_multipart, **mode))
        return str(put["e_tag"] or "")

    def _put_if(self, path: AnyPath, content: bytes, mode: Any) -> str:
        try:
            return self._put(path, content, mode=mode)
        except (FileExistsError, ChangedError) as error:
            # The answer to a first attempt may have been lost, and then it is this one that stands there.
            with contextlib.suppress(FileNotFoundError):
                there, entry = self.fetch(path)
                if there == content:
                    return entry.version
            if mode == "create":
                raise
            raise ChangedError(path) from error  # a store may say of two at once that the name is taken

    def _still(self, path: AnyPath, version: str) -> dict[str, Any]:
        """Returns the condition that an object has a version still."""
        import obstore

        if not self._base.startswith("gs://"):
            return {"e_tag": version}
        # Google goes by the generation of an object, which no listing says.
        key = self._key(path)
        try:
            meta = self._again(path, lambda: obstore.head(self._store, key))
        except FileNotFoundError as error:
            raise ChangedError(path) from error
        if meta["e_tag"] != version:
            raise ChangedError(path)
        return {"e_tag": version, "version": meta["version"]}

    def _again(self, path: AnyPath, request: Callable[[], _Result]) -> _Result:
        """Makes a request, and once more where the connection ended within it and the library does not do so."""
        began = time.monotonic()
        for attempt in range(_ATTEMPTS):
            with translated(self._base, path):
                try:
                    return request()
                except Exception as error:
                    last = attempt == _ATTEMPTS - 1 or time.monotonic() - began > _PATIENCE_SECONDS
                    if last or not is_cut(error):
                        raise
            time.sleep(0.1 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
