"""Feature sets that fit a model: those made with the spec that it was trained on."""

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.entry import AnyPath
from features.store.manifest import Manifest, load_manifest


def load_fitting(features: AnyPath, run: AnyPath, spec: FeatureSpec) -> Manifest:
    """Reads the state of a feature set whose rows a model takes.

    Args:
        features: the set.
        run: the run folder of the model.
        spec: of the model.

    Raises:
        UsageError: there is no such set, or it was made with another spec.
    """
    manifest = load_manifest(features)
    if manifest.spec.fingerprint != spec.fingerprint:
        raise UsageError(
            f"{features} was made with another spec than the model of {run}: {manifest.spec.differences(spec)} "
            "(features against model); featurize with the model's spec"
        )
    return manifest
