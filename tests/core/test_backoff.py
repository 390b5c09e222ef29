"""How long to wait after failures."""

import pytest

from csi_model.core.backoff import pause_after


@pytest.mark.parametrize(("failures", "most"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (10**6, 10.0)])
def test_pauses_double_up_to_a_bound_and_never_fall_below_half(failures, most):
    pauses = [pause_after(failures, 2.0, 10.0) for _ in range(200)]
    assert most / 2 <= min(pauses) <= max(pauses) <= most


def test_those_that_failed_together_do_not_come_back_together():
    assert len({pause_after(1, 2.0, 10.0) for _ in range(20)}) > 1
