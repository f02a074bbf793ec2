"""What a command says of a unit that failed."""

from features.errors import SoundmillError


def failure_message(error: BaseException) -> str:
    """Returns what to say of it: an error of soundmill's own in its words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SoundmillError):
            return str(cause)
        cause = cause.__cause__
    return f"a unit failed: {error!r}; finished units are kept, run it again"
