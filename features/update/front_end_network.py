"""The network of a run's front end: found before clips are listed, checked before anything is written, and copied."""

import os
from dataclasses import dataclass
from typing import Any

from features.errors import RunError, UsageError
from features.frontend.presets import NetworkChoice
from features.frontend.spec import FeatureSpec
from features.networks.network_file import DamagedNetworkError, NetworkContent, read_kept_network
from features.runtime.log import LOG
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.network_copy import (
    copied_bytes,
    copy_of,
    read_fitting,
    what_is_wrong,
    write_copy,
)


@dataclass(frozen=True)
class FrontEndNetwork:
    """The network of a run's front end.

    Attributes:
        layout: of the feature set.
        spec: the front end.
        given: the network as the user gave it, None where the set's copy is taken.
        record: what the manifest says of it.
    """

    layout: Layout
    spec: FeatureSpec
    given: NetworkContent | None
    record: dict[str, Any]

    @property
    def missing_bytes(self) -> int:
        """Bytes that the set lacks of its copy."""
        if self.given is None or copied_bytes(self.layout, self.spec) == len(self.given.content):
            return 0
        return len(self.given.content)

    def check(self) -> None:
        """Runs it once, before anything is written; raises `UsageError` where it is not what the spec says."""
        from features.frontend.embedding import check_network  # it loads a runtime

        try:
            check_network(self._content(), self.spec)
        except UsageError as error:
            raise UsageError(f"{self.record['name'] or self.record['file']}: {error}") from error

    def put(self, is_used: bool) -> None:
        """Copies it into the set, where it is not there yet.

        Args:
            is_used: whether the run computes anything; else the content of a copy of the right size is not read.
        """
        if self.given is None:
            return
        if is_used:
            why = what_is_wrong(self.layout, self.spec)
        else:
            why = "it has another size, or there is none" if self.missing_bytes else None
        if why is not None:
            LOG.debug("writing %s: %s", copy_of(self.layout, self.spec), why)
            write_copy(self.layout, self.spec, self.given)

    def _content(self) -> bytes:
        if self.given is not None:
            return self.given.content
        path = copy_of(self.layout, self.spec)
        try:
            return read_kept_network(path)
        except DamagedNetworkError as error:
            raise RunError(
                f"{path}: {error}; give the network with --network-file, and it is copied there again"
            ) from error


def find_network(
    layout: Layout, spec: FeatureSpec, choice: NetworkChoice | None, base: Manifest | None
) -> FrontEndNetwork | None:
    """Finds the network of a front end: the file that the user gives, or the copy that the set has.

    Args:
        layout: of the feature set.
        spec: the front end.
        choice: the file, and what was said of its licence and its source.
        base: the committed state, of the same spec; what it says of the network holds where nothing else is said.

    Returns:
        None where the front end has no network.

    Raises:
        UsageError: there is neither, or the file is another network.
    """
    file, licence, source = (None, None, None) if choice is None else (choice.file, choice.licence, choice.source)
    if spec.network_name is None:
        if file is not None:
            raise UsageError(f"--network-file is for a front end that is a network, and this one is {spec.front_end}")
        return None
    given = None if file is None else read_fitting(file, spec)
    size = copied_bytes(layout, spec) if given is None else len(given.content)
    if size is None:
        of = f" ({source})" if source else ""
        raise UsageError(
            f"{layout.root} has no copy of the network with the sha256 {spec.network_sha256} ({spec.network_format}); "
            f"give its file with --network-file{of}"
        )
    known = {} if base is None or base.network is None else base.network
    record = {
        "file": spec.network_name,
        "name": known.get("name") or (None if file is None else _name(file)),
        "bytes": size if given is not None else known.get("bytes", size),  # of a copy that is cut off, what it had
        "licence": licence or known.get("licence"),
        "source": source or known.get("source"),
    }
    return FrontEndNetwork(layout, spec, given, record)


def network_sentence(record: dict[str, Any] | None) -> str:
    """Returns whose network the features are of, for the end of a paragraph; nothing where there is none."""
    if record is None:
        return ""
    licence = f"licence: {record['licence']}" if record["licence"] else "no licence was given"
    return f" The front end is the network {record['name'] or record['file']} ({licence})."


def named_differences(base: Manifest, spec: FeatureSpec, choice: NetworkChoice | None) -> str:
    """Names the fields in which the spec of a state and another one differ, and networks also by their files."""
    text = base.spec.differences(spec)
    names = {
        base.spec.network_sha256: None if base.network is None else base.network["name"],
        spec.network_sha256: None if choice is None or choice.file is None else _name(choice.file),
    }
    for sha256, name in names.items():
        if sha256 is not None and name is not None:
            text = text.replace(sha256, f"{sha256[:16]}… ({name})")
    return text


def _name(path: str) -> str:
    return os.path.basename(path.rstrip("/"))
