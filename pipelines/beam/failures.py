"""What a command says of a pipeline that failed. Importing this loads no Beam."""

import re
import traceback

from features.errors import SoundmillError

# Lines of a traceback, maybe within one of Java's; Beam adds where in the pipeline it was.
_OWN_ERROR = re.compile(r"^(?:[\w.$]+: )*features\.errors\.\w+: (.*?)(?: \[while running .*)?$", re.MULTILINE)
_PYTHON_ERROR = re.compile(
    r"^(?!java|org\.|com\.)([\w.]+(?:Error|Exception)\b.*?)(?: \[while running .*)?$", re.MULTILINE
)
_CAUSE = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.){2,}[\w$]+: (.*)$", re.MULTILINE)
_JAVA_CLASS = re.compile(r"^(?:(?:[\w$]+\.){2,}[\w$]+: )+")
# The text of an error of gRPC, which has several lines.
_RPC = re.compile(r'^<_\w+ of RPC .*?^\s*details = "(.*?)"?$', re.MULTILINE | re.DOTALL)
_STATE = re.compile(r"^Pipeline \S+ failed in state (\w+): ")


def failure_message(error: BaseException) -> str:
    """Returns what to say of a pipeline's failure: an error of soundmill's own in its words, else how it began."""
    while error.__cause__ is not None and not isinstance(error, SoundmillError):
        error = error.__cause__
    # What a worker process raised comes as the text of its traceback.
    if own := _OWN_ERROR.search("".join(traceback.format_exception_only(error))):
        return own[1]
    return f"the pipeline failed: {failure_root(str(error)) or repr(error)}; finished units are kept, run it again"


def failure_root(text: str) -> str:
    """Returns the line that says what went wrong, of a traceback of Python or Java or one within the other."""
    state = _STATE.match(text)
    if state and state[1] == "CANCELLED":
        return "its job was cancelled on the runner"
    text = _STATE.sub("", text)
    if answer := _RPC.match(text):
        return f"Beam's job server does not answer: {answer[1]}"
    if own := _OWN_ERROR.search(text):
        return own[1]
    if "Traceback (most recent call last)" in text and (raised := _PYTHON_ERROR.findall(text)):
        return str(raised[-1])
    if causes := [_JAVA_CLASS.sub("", cause) for cause in _CAUSE.findall(text)]:
        # The last but one may say more: what was done as that happened.
        return str(next((cause for cause in causes[-2:-1] if cause.endswith(causes[-1])), causes[-1]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else "")
