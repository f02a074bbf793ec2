import numpy as np
import pytest
import scipy.fft

from features.frontend.mel import FILTER_BANKS, cosine_matrix, hz_to_mel, mel_matrix

# bands, fft_samples, sample_rate_hz, low_hz, high_hz
BANKS = [
    (128, 2048, 22_050, 0.0, 11_025.0),
    (64, 512, 16_000, 20.0, 8_000.0),
    (40, 512, 16_000, 300.0, 3_400.0),
    (80, 1024, 44_100, 0.0, 8_000.0),
    (32, 509, 8_000, 0.0, 4_000.0),
    (8, 256, 16_000, 0.0, 1_000.0),
    (1, 256, 16_000, 125.0, 7_500.0),
]


@pytest.mark.parametrize("bank", BANKS, ids=str)
def test_slaney_bank_is_librosas(librosa, bank):
    bands, fft, rate_hz, low_hz, high_hz = bank
    expected = librosa(
        f"mel bank {bank}",
        lambda theirs: theirs.filters.mel(sr=rate_hz, n_fft=fft, n_mels=bands, fmin=low_hz, fmax=high_hz).T,
    )
    matrix = mel_matrix("slaney", *bank)
    assert matrix.shape == (fft // 2 + 1, bands)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-6 * expected.max())


@pytest.mark.parametrize("bank", [bank for bank in BANKS if bank[1] % 2 == 0], ids=str)
def test_htk_bank_is_tensorflows(tf, bank):
    bands, fft, rate_hz, low_hz, high_hz = bank
    expected = tf.signal.linear_to_mel_weight_matrix(
        bands, fft // 2 + 1, rate_hz, low_hz, high_hz, dtype=tf.float64
    ).numpy()
    matrix = mel_matrix("htk", *bank)
    assert matrix.shape == (fft // 2 + 1, bands)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("htk", [False, True])
def test_scale_is_librosas(librosa, htk):
    hz = np.array([0.0, 1.0, 999.9, 1000.0, 1000.1, 4321.0, 96_000.0])
    expected = librosa(f"mel scale, htk {htk}", lambda theirs: theirs.hz_to_mel(hz, htk=htk))
    # librosa's 2595 / ln(10) is 1126.9941, the HTK book's 1127.
    np.testing.assert_allclose(hz_to_mel(hz, "htk" if htk else "slaney"), expected, rtol=1e-5 if htk else 1e-12)


@pytest.mark.parametrize("filter_bank", FILTER_BANKS)
def test_a_bin_outside_the_range_weighs_nothing(filter_bank):
    matrix = mel_matrix(filter_bank, 20, 512, 16_000, 500.0, 4_000.0)
    bins_hz = np.arange(257) * 16_000 / 512
    assert not matrix[(bins_hz <= 500) | (bins_hz >= 4_000)].any()
    assert matrix[(bins_hz > 500) & (bins_hz < 4_000)].any(axis=1).all()


@pytest.mark.parametrize("bands", [1, 2, 13, 128])
def test_cosine_matrix_is_scipys_orthonormal_dct(bands):
    values = np.random.default_rng(0).standard_normal((5, bands))
    expected = scipy.fft.dct(values, type=2, norm="ortho")
    for coefficients in {1, bands - 1 or 1, bands}:
        matrix = cosine_matrix(bands, coefficients)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(values @ matrix, expected[:, :coefficients], rtol=0, atol=1e-5)
