"""soundmill in Python: a feature set, and a trained network, opened for use.

```python
import soundmill

features = soundmill.open_features("speech-features")
print(features.classes, features.counts["clips"])
print(features.array("yes/0135f3f2_nohash_1.wav").shape)

model = soundmill.load_model("run")
print(model.predict(["one.wav", "two.wav"], top=2).to_pandas())
```

Importing it loads neither TensorFlow nor Beam nor pyarrow. These names, and the methods of what they return, are what
programs may rely on; modules of `features`, `model` and `pipelines` move.
"""

from os import PathLike
from typing import TYPE_CHECKING

from features.errors import Reject, RunError, SoundmillError, UsageError

if TYPE_CHECKING:
    from soundmill.feature_set import FeatureSet
    from soundmill.trained_model import TrainedModel

__all__ = ["Reject", "RunError", "SoundmillError", "UsageError", "load_model", "open_features"]


def open_features(folder: str | PathLike[str]) -> "FeatureSet":
    """Opens the committed state of a feature set.

    Args:
        folder: the `--output` of `soundmill featurize`, a folder or `s3://BUCKET/NAME`.

    Raises:
        UsageError: the folder is not a feature set, or a newer soundmill or another front end made it.
    """
    from soundmill.feature_set import FeatureSet

    return FeatureSet.open(folder)


def load_model(run: str | PathLike[str], executor: str = "auto", network_precision: str = "float32") -> "TrainedModel":
    """Loads the network of a run for labelling, without TensorFlow.

    Args:
        run: the `--output` of `soundmill train`.
        executor: what runs the network: `openvino`, `litert`, or `auto` for OpenVINO where it is installed.
        network_precision: `int8` for the network that `soundmill quantize` keeps in the run beside its own.

    Raises:
        UsageError: the folder is not a run, its training did not end, it is damaged or has no such network, or the
            executor is not installed.
    """
    from soundmill.trained_model import TrainedModel

    return TrainedModel.load(run, executor, network_precision)
