import pytest

from features.errors import UsageError
from features.frontend.presets import preset
from model.networks.registry import NETWORKS
from model.training.recipes import choose_settings
from model.tuning.ranges import Choices, Range, default_ranges, ranges_toml, read_ranges


@pytest.fixture
def ranges(tmp_path):
    def read(text: str):
        path = tmp_path / "ranges.toml"
        path.write_text(text, encoding="utf-8")
        return read_ranges(str(path))

    return read


def test_a_file_has_ranges_and_choices(ranges):
    read = ranges("""
        learning_rate = {low = 1e-4, high = 1e-2, log = true}
        label_smoothing = [0.0, 0.2]
        time_masks = {low = 0, high = 3}
        batch_size = {choices = [32, 64]}
        optimizer = ["adam", "sgd"]
    """)
    assert read == {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "label_smoothing": Range(0.0, 0.2),
        "time_masks": Range(0, 3),
        "batch_size": Choices((32, 64)),
        "optimizer": Choices(("adam", "sgd")),
    }
    assert ranges(ranges_toml(read)) == read


def test_of_a_linear_network_nothing_is_searched_by_default(ranges):
    assert default_ranges("linear") == {}
    assert ranges("l2 = {low = 1e-4, high = 1.0, log = true}") == {"l2": Range(1e-4, 1.0, log=True)}


@pytest.mark.parametrize("network", [name for name, one in NETWORKS.items() if not one.is_linear])
def test_what_is_searched_by_default_is_possible(ranges, network):
    searched = default_ranges(network)
    assert ranges(ranges_toml(searched)) == searched
    for name, one in searched.items():
        for value in one.ends:
            assert choose_settings(preset("log-mel-40"), {"network": network, name: value}).flat()[name] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names one setting at least"),
        ("learning_rates = [1, 2]", "'learning_rates' is not a setting that is searched; there are network, "),
        ("seed = [1, 2]", "'seed' is not a setting that is searched"),
        ("train_on = ['training', 'testing']", "'train_on' is not a setting that is searched"),
        ("silence_share = [0, 1]", "'silence_share' is not a setting that is searched"),
        ("epochs = 3", "epochs is \\[low, high\\]"),
        ("epochs = [1, 2, 3]", "epochs is \\[low, high\\]"),
        ("epochs = {choices = []}", "epochs is \\[low, high\\]"),
        ("noise_snr_db = {choices = [[0, 1]]}", "noise_snr_db is \\[low, high\\]"),
        ("epochs = [2, 2]", "epochs ends higher than it begins, not 2 to 2"),
        ("mixup_alpha = {low = 0, high = 1, log = true}", "mixup_alpha begins above 0"),
        ("epochs = [1", "are not TOML"),
    ],
)
def test_what_is_no_range_is_refused(ranges, text, message):
    with pytest.raises(UsageError, match=message):
        ranges(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot read the ranges"):
        read_ranges(str(tmp_path / "none.toml"))
