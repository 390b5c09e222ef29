import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.units import bytes_text, duration_text, rate_text

FACTORS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (999.6, "1.00 kB"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"), (99_960, "100 kB"),
        (12_345, "12.3 kB"), (123_456, "123 kB"), (999_499, "999 kB"), (999_999, "1.00 MB"), (16_400_000_000, "16.4 GB"),
        (10**15, "1.00 PB"), (12_345 * 10**15, "12345 PB"),
    ],
)  # fmt: skip
def test_bytes_have_three_digits(count: float, text: str):
    assert bytes_text(count) == text


@given(st.integers(1000, 10**18 - 10**16))
def test_bytes_are_right_within_half_a_percent(count: int):
    number, unit = bytes_text(count).split()
    assert abs(float(number) * FACTORS[unit] - count) <= count * 0.005
    assert 1 <= float(number) < 1000
    assert len(number.replace(".", "")) == 3


def test_a_rate_is_bytes_per_second():
    assert rate_text(1_100_000_000) == "1.10 GB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"), (0.0123, "12 ms"), (0.9996, "1.0 s"), (3.21, "3.2 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
        (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (7260, "2 h 1 min"),
    ],
)  # fmt: skip
def test_durations_get_coarser(seconds: float, text: str):
    assert duration_text(seconds) == text
