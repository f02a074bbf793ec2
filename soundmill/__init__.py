"""soundmill in Python: a feature set, and a trained network, opened for use.

```python
import soundmill

features = soundmill.open_features("speech-features")
print(features.classes, features.counts["clips"])
print(features.array("yes/0135f3f2_nohash_1.wav").shape)

model = soundmill.load_model("run")
print(model.predict(["one.wav", "two.wav"], top=2).to_pandas())
```

`soundmill.run` runs any command, as from a notebook, and returns the figures of its `--summary`.

Importing it loads neither TensorFlow nor Beam nor pyarrow. These names, and the methods of what they return, are what
programs may rely on; modules of `features`, `model` and `pipelines` move.
"""

from os import PathLike
from typing import TYPE_CHECKING, Any

from features.errors import Reject, RunError, SoundmillError, UsageError

if TYPE_CHECKING:
    from soundmill.feature_set import FeatureSet
    from soundmill.trained_model import TrainedModel

__all__ = ["Reject", "RunError", "SoundmillError", "UsageError", "load_model", "open_features", "run"]


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


def run(command: str, *arguments: object, **options: object) -> dict[str, Any]:
    """Runs a command as `soundmill COMMAND` does, in a process of its own that ends with this one.

    What it says is written to standard output as it comes, which in a notebook is the cell.

    ```python
    soundmill.run("featurize", input="speech", output="speech-features")
    figures = soundmill.run("train", features="speech-features", output="run", epochs=30)
    print(figures["best_validation_accuracy"])
    ```

    Args:
        command: `featurize`, `train`, `score` and all others that `soundmill --help` lists.
        arguments: what has no name on its command line, such as the run of `report`.
        options: what has one, with underscores: `hop_seconds=1` is `--hop-seconds=1`. `True` is an option without a
            value, `None` and `False` are one that is not given, and a list is one for each of its values.

    Returns:
        The figures that `--summary` writes.

    Raises:
        UsageError: the command ended with exit code 2.
        RunError: it ended with another one: 1, or 3 where more files were rejected than `max_rejects`.
    """
    from soundmill.command_process import run_command

    return run_command(command, arguments, options)
