"""The network that a front end runs, which a run and a job keep for themselves as their feature set does."""

import os
from pathlib import Path

from features.frontend.embedding import read_front_end_network
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, exists, filesystem_of

NETWORKS = "networks"
"""The folder for it within a run's model, or a job."""


def keep_network(spec: FeatureSpec, networks: Location | None, folder: Location) -> None:
    """Puts the network of a front end into a folder: by a hard link, or where there can be none as a copy.

    Args:
        spec: the front end; of one without a network nothing is done.
        networks: the folder where it is, `networks` of a feature set, a run or a job.
        folder: which gets a folder `NETWORKS` with it.

    Raises:
        UsageError: it is not there, or damaged.
    """
    if spec.network_name is None:
        return
    content = read_front_end_network(spec, networks)
    target = folder / NETWORKS / spec.network_name
    if exists(target):  # written whole; who reads it checks it
        return
    if isinstance(networks, Path) and isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(networks / spec.network_name, target)
            return
        except OSError:  # of another disk, or of one without links
            pass
    filesystem_of(target).write(target, content)
