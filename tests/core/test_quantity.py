import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.quantity import bytes_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20Gi", 20 * 2**30), ("1.5Ki", 1536), ("16G", 16 * 10**9), ("5", 5), ("0.1", 1), ("1500m", 2), ("12e3", 12000),
        ("1E", 10**18), ("2Ei", 2**61), ("99Ei", 2**63 - 1), ("3k", 3000), ("1e-1", 1),
    ],
)  # fmt: skip
def test_a_quantity_is_bytes(text: str, size: int):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "-1", "1 Gi", "1gi", "one", "1Gi\n", "1e999", "9" * 30])
def test_what_is_no_size_says_nothing(text: str):
    assert bytes_of(text) == 0


@given(st.text(max_size=60))
def test_any_text_is_read(text: str):
    assert 0 <= bytes_of(text) < 2**63
