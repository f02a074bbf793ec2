"""Policies: whether clips that have a warning are used; no value depends on them, so no spec has them."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import CHANNELS_CANCEL, ClipError, Reason, Reject

KEEP, REJECT = "keep", "reject"
CHOICES = (KEEP, REJECT)
Policies = Mapping[str, str]
# By the warning that a clip has.
DEFAULTS: dict[str, str] = {Reason.SILENT.value: KEEP, Reason.TRUNCATED.value: KEEP}
_STAGES = {"silent": "fit", "truncated": "decode", CHANNELS_CANCEL: "fit"}
MESSAGES = {
    "silent": "every sample that is used is zero",
    "truncated": "the file was cut off or is damaged within, or ends before its clip does",
    CHANNELS_CANCEL: "its channels cancel each other in their mean, in all of it or in a part, and the mean is used; "
    'a spec with channels = "loudest", or with the number of a channel, uses one of them',
}


def refusal(warning: str | None, policies: Policies) -> ClipError | None:
    """Returns the reason for which a clip with these warnings, `;` between them, is not used, None where it is."""
    for code in (warning or "").split(";"):
        if policies.get(code) == REJECT:
            return ClipError(_STAGES[code], Reason(code), f"{MESSAGES[code]}; --{code} keep uses it")
    return None


def remark(path: str, warning: str, message: str = "") -> Reject:
    """Returns the row of the table of warnings for a file that is used although it has this one.

    Args:
        path: of the file.
        warning: one code; a file with several has a row for each.
        message: what was met, where it differs from file to file.
    """
    return Reject(path, _STAGES.get(warning, "decode"), warning, message or MESSAGES[warning])


def decided_anew(cache: pa.Table, policies: Policies) -> pa.Table:
    """Returns what a state knows as these policies see it.

    Args:
        cache: of `features.store.known_rows.CACHE_SCHEMA`.
        policies: of the run.

    Returns:
        The cache: rows that are not to be used any more have become rejects, and rejects that a policy made and none
        makes now have left it.
    """
    used_again = [name for name, choice in policies.items() if choice == KEEP]
    cache = cache.filter(pc.invert(pc.is_in(cache["reason"], value_set=pa.array(used_again, pa.string()))))
    for warning in policies:
        error = refusal(warning, policies)
        if error is None:
            continue
        warned = pc.match_substring_regex(cache["warning"], f"(^|;){warning}(;|$)")
        chosen = pc.and_(warned.fill_null(False), cache["row"].is_valid())
        values: dict[str, str | None] = {"stage": error.stage, "reason": str(error.reason), "message": error.message}
        values |= dict.fromkeys(("row", "offset", "crc32c", "shard", "warning", "seconds", "decoder"))
        for name, value in values.items():
            field = cache.schema.field(name)
            column = pc.if_else(chosen, pa.scalar(value, field.type), cache[name])
            cache = cache.set_column(cache.column_names.index(name), field, column)
    return cache.combine_chunks()
