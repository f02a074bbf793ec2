"""The places of what a scoring writes."""

from dataclasses import dataclass

from features.io.filesystem import Location, place


@dataclass(frozen=True)
class OutputFiles:
    """The files of a scoring.

    Attributes:
        labels: the table of labels.
    """

    labels: str

    @property
    def rejects(self) -> str:
        """The table of files that could not be used: `x.rejects.csv` for `x.csv`, else `x.parquet.rejects.csv`."""
        return f"{self.labels.removesuffix('.csv')}.rejects.csv"

    @property
    def warnings(self) -> str:
        """The table of files that were labelled although they have a warning, which is named likewise."""
        return f"{self.labels.removesuffix('.csv')}.warnings.csv"

    @property
    def tables(self) -> tuple[str, str, str, str]:
        """The tables of every scoring."""
        return self.labels, self.rejects, self.warnings, self.manifest

    def selections(self, form: str) -> str:
        """Returns the folder of the files that a program opens, one a recording: `x.raven` for `x.csv`."""
        return f"{self.labels.removesuffix('.csv')}.{form}"

    @property
    def manifest(self) -> str:
        """What made the outputs: `x.csv.manifest.parquet`."""
        return f"{self.labels}.manifest.parquet"

    @property
    def parts(self) -> Location:
        """The folder of the parts, until they are joined: `x.csv.parts`."""
        return place(f"{self.labels}.parts")
