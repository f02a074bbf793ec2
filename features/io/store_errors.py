"""What an object store's library raises, as errors of the system or as one line that says what to do."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from features.errors import PassingError, RunError, UsageError

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_OF_AZURE = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
_REFUSED_CREDENTIALS = re.compile(
    "InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|AuthenticationFailed|"
    "RequestTimeTooSkewed"
)
# Without credentials the library asks the machine that it runs on for some.
_NO_CREDENTIALS = re.compile(r"169\.254\.|metadata\.google\.internal|missing ?credential", re.IGNORECASE)
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_STATUS = re.compile(r"status code: (\d{3})")
_PASSING = (408, 429)  # a request that came too slowly, and too many of them
_CODE = re.compile(r"<Code>(\w+)</Code>")
# What the library says before the cause: of a store that is asked with a signature in the address, that too.
_BEFORE = re.compile(
    r"(?:Generic \w+ error: )?(?:Error performing \w+ request: )?(?:Error performing \w+ \S+ in .*? - )?"
)


class ChangedError(Exception):
    """A file is no longer the one that it was to replace."""


class PlaceError(UsageError):
    """A place that can be none: a URI of another kind, or a name that an object cannot have."""


class UnlistableError(UsageError):
    """A folder has an object whose name the library cannot say, and lists nothing of it for that."""


class CutError(Exception):
    """Fewer bytes of an object came than were announced."""


class _Use:
    is_begun = False  # in this process, or in the one that it was forked from
    is_lost = False


def begin_use() -> None:
    """Notes that the library is used; its threads do not come along to a fork, where it would wait for them for ever.

    Raises:
        RunError: this is a fork of a process that has used it.
    """
    if _Use.is_lost:
        raise RunError("this process was forked from one that has used an object store, and cannot use one itself: "
                       'start it otherwise, as by multiprocessing.set_start_method("spawn")')  # fmt: skip
    _Use.is_begun = True


def _after_fork() -> None:
    _Use.is_lost = _Use.is_begun


os.register_at_fork(after_in_child=_after_fork)


def endpoint() -> str | None:
    """Returns where S3 is asked for, None where that follows from the region."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def status_of(error: BaseException) -> int | None:
    """Returns the status that a store answered with, None where it did not answer."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else None


def refuses_credentials(error: BaseException) -> bool:
    """Returns whether it is who asks that a store refuses, and not what is asked for."""
    return _REFUSED_CREDENTIALS.search(str(error)) is not None


def is_cut(error: BaseException) -> bool:
    """Returns whether a connection ended within a request, and no answer of the store says what is wrong."""
    from obstore.exceptions import GenericError

    return isinstance(error, CutError) or (isinstance(error, GenericError) and status_of(error) is None)


def first_line(error: BaseException) -> str:
    """Returns the cause that an error names, without addresses and without the library's structures that follow."""
    return _BEFORE.sub("", str(error).split("\n")[0], count=1)


@contextlib.contextmanager
def translated(base: str, path: str | os.PathLike[str], is_first: bool = False) -> Iterator[None]:
    """Raises what the library raises in the block as what a caller can use.

    Args:
        base: scheme and bucket.
        path: that the block is about.
        is_first: whether nothing has been asked of the store before: what does not answer is then not what was meant.

    Raises:
        FileNotFoundError, FileExistsError, PermissionError, ChangedError: of this path.
        UsageError: no such bucket, no or wrong credentials, or a store that has never answered.
        UnlistableError: what was listed has a name that cannot be said.
        PassingError: it does not answer any more, or answers that it cannot.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    path = os.fspath(path)
    try:
        yield
    except AlreadyExistsError as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
    except PreconditionError as error:
        raise ChangedError(path) from error
    except (BaseError, FileNotFoundError, CutError, ValueError) as error:
        raise _error(error, base, path, is_first) from error


def _error(error: Exception, base: str, path: str | os.PathLike[str], is_first: bool) -> Exception:
    from obstore.exceptions import InvalidPathError

    if isinstance(error, InvalidPathError):
        return UnlistableError(
            f"{path} cannot be listed for the name of one object: {first_line(error)}; rename that object or remove "
            "it, give a folder in which it is not, or name the others in a table"
        )
    text, status, where = str(error), status_of(error), endpoint() or "the store"
    credentials = _CREDENTIALS.get(base.partition("://")[0], _OF_AZURE)
    code = _CODE.search(text)
    if _NO_CREDENTIALS.search(text):
        return UsageError(f"no credentials for {base}: {credentials} are not set")
    if refuses_credentials(error):
        return UsageError(f"{where} refuses the credentials for {base} ({code[1] if code else status}); they are those "
                          f"of {credentials}")  # fmt: skip
    if _NO_BUCKET.search(text) or (is_first and status == 404):
        return UsageError(f"no such bucket: {base}, at {where}; make it, or give another")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if status in (401, 403):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    if status:
        answer = f"{where} answers {status}{f' {code[1]}' if code else ''}"
        if is_first and status < 500 and status not in _PASSING:
            return UsageError(f"{answer} for {base}; see to the name of the bucket, and to AWS_REGION")
        return PassingError(f"{path}: {answer}; run it again, what was finished is kept")
    why = first_line(error)
    if is_first:
        return UsageError(f"{where} does not answer for {base}: {why}; see to AWS_ENDPOINT_URL, or to the network")
    return PassingError(f"{path}: {where} does not answer any more: {why}; run it again, what was finished is kept")
