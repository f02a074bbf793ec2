import pytest

from features.runtime.quantities import rate_text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0"),
        (0.0312, "0.031"),
        (0.63, "0.63"),
        (1, "1"),
        (9.4, "9.4"),
        (9.96, "10"),
        (10, "10"),
        (12_345.6, "12,346"),
    ],
)
def test_a_rate_below_ten_has_two_digits(rate, text):
    assert rate_text(rate) == text
