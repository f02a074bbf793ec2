"""Worker processes that do not see what their driver sees, as on a host without its disks."""

import subprocess

import pytest

from features.errors import RunError
from features.store.layout import Layout
from pipelines.local import workers
from tests.conftest import call

HIDING = 'mount -t tmpfs none "$0" && exec "$@"'
NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-c", HIDING)


@pytest.mark.parametrize("hidden", ["source", "output"])
def test_workers_without_the_disks_of_the_driver_end_the_run_and_reject_nothing(
    old_words, tmp_path, monkeypatch, hidden
):
    output = tmp_path / "disk" / "set"
    output.parent.mkdir()
    place = old_words if hidden == "source" else output.parent
    refused = subprocess.run([*NAMESPACE, place, "true"], capture_output=True, text=True).stderr
    if refused:
        pytest.skip(f"a file system cannot be mounted here: {refused.strip()}")
    command = workers.python_command
    monkeypatch.setattr(workers, "python_command", lambda *parts: [*NAMESPACE, str(place), *command(*parts)])
    expected = {
        "source": rf"process \d+ on host \S+ does not see the recordings in {old_words}, where the driver saw \w+/",
        "output": rf"{output}/work/lease-\S+, by .*, is not there: .* or {output}/work is not the same folder on this",
    }
    with pytest.raises(RunError, match=expected[hidden]):
        call(
            "pipelines.featurize", "--input", old_words, "--output", output, "--preset", "speech-commands",
            "--workers", 2,
        )  # fmt: skip
    assert Layout(output, "tfrecord").reported() == set()
    assert sorted(path.name for path in output.iterdir()) == [".running", "reports", "shards"]
