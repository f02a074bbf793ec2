"""Training in bfloat16: refused where it would be slow; what is built for it has float32 weights and outputs."""

import keras
import numpy as np
import pytest

from features.errors import UsageError
from features.store.statistics import Statistics
from model.networks.builder import build
from model.networks.registry import network
from model.training.optimization import compile_model
from model.training.precision import building_in, check_precision, computes_bfloat16, with_float32_outputs
from model.training.settings import Schedule


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("", False),
    ],
)
def test_what_the_processor_can_is_read_from_its_flags(tmp_path, cpuinfo, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert computes_bfloat16(str(path), str(tmp_path / "none")) is expected
    assert computes_bfloat16(str(path), str(path)), "an accelerator computes in it whatever the processor is"
    assert not computes_bfloat16(str(tmp_path / "missing"), str(tmp_path / "none"))


def test_it_is_refused_where_it_is_not_there(monkeypatch):
    monkeypatch.setattr("model.training.precision.computes_bfloat16", lambda: False)
    check_precision("float32")
    with pytest.raises(UsageError, match="--precision mixed_bfloat16 takes a processor with AVX-512 BF16"):
        check_precision("mixed_bfloat16")


@pytest.mark.parametrize("name", ["mlp", pytest.param("residual", marks=pytest.mark.trial)])  # Sequential and not
def test_a_network_in_bfloat16_learns_with_float32_weights_and_outputs(name):
    """TensorFlow computes in bfloat16 on any processor, only slowly."""
    chosen, shape, statistics = network(name), (8, 6), Statistics(48, (48.0,) * 6, (96.0,) * 6)
    keras.utils.set_random_seed(0)
    with building_in("mixed_bfloat16"):
        model = with_float32_outputs(build(chosen, shape, 3, statistics))
    assert keras.config.dtype_policy().name == "float32"
    compile_model(model, chosen, Schedule(), 1, soft_targets=False)
    features = np.random.default_rng(0).normal(1, 1, (9, *shape, 1)).astype(np.float32)
    assert np.isfinite(model.train_on_batch(features, np.arange(9) % 3)).all()
    outputs = model(features, training=False)
    assert outputs.dtype == "float32"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model.layers[3].compute_dtype == "bfloat16"
    plain = build(chosen, shape, 3, statistics)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(plain(features, training=False), outputs, atol=0.05)
