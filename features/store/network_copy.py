"""The copy of a front end's network in a feature set: its content is the one that its name says, or it is not used."""

from pathlib import Path

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.atomic import fsync_folder
from features.io.filesystem import Location
from features.networks.network_file import (
    DamagedNetworkError,
    NetworkContent,
    read_kept_network,
    read_network_file,
)
from features.store.layout import Layout


def copy_of(layout: Layout, spec: FeatureSpec) -> Location:
    """Returns where a set has the network of a spec that has one."""
    return layout.network(spec.network_name or "")


def copied_bytes(layout: Layout, spec: FeatureSpec) -> int | None:
    """Returns the size of the copy, None where there is none; its content is not looked at."""
    try:
        return layout.files.status(copy_of(layout, spec)).size
    except (FileNotFoundError, NotADirectoryError):
        return None


def what_is_wrong(layout: Layout, spec: FeatureSpec) -> str | None:
    """Returns what is wrong with the copy, None where it is whole; reads all of it."""
    try:
        read_kept_network(copy_of(layout, spec))
    except DamagedNetworkError as error:
        return str(error)
    return None


def read_fitting(path: str, spec: FeatureSpec) -> NetworkContent:
    """Reads the file of a network that a user gives; raises `UsageError` where it is not the one of a spec."""
    given = read_network_file(path)
    if (given.format, given.sha256) != (spec.network_format, spec.network_sha256):
        raise UsageError(
            f"{path} is another network than the spec names: {given.format} with the sha256 {given.sha256}, not "
            f"{spec.network_format} with {spec.network_sha256}; give the file of that one"
        )
    return given


def write_copy(layout: Layout, spec: FeatureSpec, given: NetworkContent) -> None:
    """Puts a network into a set, whole."""
    layout.files.write(copy_of(layout, spec), given.content)
    if isinstance(layout.root, Path):
        fsync_folder(layout.root)  # the folder of networks may be new
