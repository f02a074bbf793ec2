"""Where a metadata table says what: the options that name its columns."""

import string
from dataclasses import dataclass

from features.errors import UsageError

_DEFAULT_PATH = "path"
# What else is read, and from which column where no option names one; None: only where an option does.
DEFAULT_COLUMNS = {"label": "label", "partition": "partition", "fold": "fold", "group": "group", "start": None,
             "end": None, "duration": None}  # fmt: skip

_EXCLUDING = (("path_column", "path_template"), ("partition_column", "fold_column"), ("end_column", "duration_column"))


@dataclass(frozen=True)
class TableLayout:
    """Where a table says what. None stands for an option that was not given.

    Attributes:
        root: folder in which the table's paths begin; the table's own without it.
        path_column: of the paths; `path` without it.
        path_template: a path with columns in braces, such as `audio/fold{fold}/{name}`, in place of a column.
        label_column: of the labels; `label` without it.
        partition_column: of the partitions; `partition` without it, where the table has one.
        fold_column: of the folds; `fold` without it, where the table has one.
        group_column: of the groups; `group` without it, where the table has one.
        start_column: of the seconds at which clips begin within their files; none without it.
        end_column: of the seconds at which clips end within their files; none without it.
        duration_column: of the seconds that clips last; none without it.

    Raises:
        UsageError: two of them exclude each other, or the template is not one.
    """

    root: str | None = None
    path_column: str | None = None
    path_template: str | None = None
    label_column: str | None = None
    partition_column: str | None = None
    fold_column: str | None = None
    group_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None
    duration_column: str | None = None

    def __post_init__(self) -> None:
        """Refuses what has no meaning."""
        for one, other in _EXCLUDING:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UsageError(f"give {option_name(one)} or {option_name(other)}, not both")
        _ = self.path_parts

    @property
    def given(self) -> list[str]:
        """The options that were given, as they stand on the command line."""
        return [option_name(name) for name, value in vars(self).items() if value is not None]

    @property
    def path_parts(self) -> list[tuple[str, str | None]]:
        """What a path is put together from: text, and the column that follows it, None at the end."""
        if self.path_template is None:
            return [("", _DEFAULT_PATH if self.path_column is None else self.path_column)]
        rule = "--path-template is a path with the names of columns in braces, such as audio/fold{fold}/{name}"
        try:
            parts = list(string.Formatter().parse(self.path_template))
        except ValueError as error:
            raise UsageError(f"{rule}, not {self.path_template!r}: {error}") from error
        columns = [part[1:] for part in parts if part[1] is not None]
        if not columns or any(not name or form or conversion for name, form, conversion in columns):
            raise UsageError(f"{rule}, not {self.path_template!r}")
        return [(text, name) for text, name, _, _ in parts]

    def column(self, role: str) -> str | None:
        """Returns the column of `label`, `partition`, …: the one that an option names, else the default."""
        name: str | None = getattr(self, f"{role}_column")
        return DEFAULT_COLUMNS[role] if name is None else name


def option_name(name: str) -> str:
    """Returns the option of the command line that a field of `TableLayout` is."""
    return f"--{name.replace('_', '-')}"
