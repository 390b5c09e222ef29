import pytest

from csi_model.transfer.keeping import Keeping, no_room


class Room:
    """So much memory; remembers how much was said to be kept already."""

    def __init__(self, size):
        self.size = size
        self.kept = []

    def __call__(self, *, kept=0):
        self.kept.append(kept)
        return self.size - kept


def test_what_a_pod_waits_for_stays_while_there_is_room():
    with Keeping(Room(100)).account() as account:
        assert account.keep(100, urgent=True)


def test_what_nobody_waits_for_passes():
    with Keeping(Room(100)).account() as account:
        assert not account.keep(1, urgent=False)


def test_more_than_there_is_room_for_passes():
    with Keeping(Room(100)).account() as account:
        assert not account.keep(101, urgent=True)


def test_by_default_nothing_stays():
    with Keeping(no_room).account() as account:
        assert not account.keep(1, urgent=True)


def test_what_a_transfer_has_kept_is_not_given_away_again():
    room = Room(100)
    with Keeping(room).account() as account:
        assert [account.keep(40, urgent=True) for _ in range(4)] == [True, True, False, False]
    assert room.kept == [0, 40, 80, 80]


def test_transfers_that_run_together_share_the_room():
    keeping = Keeping(Room(100))
    with keeping.account() as first, keeping.account() as second:
        assert first.keep(70, urgent=True)
        assert not second.keep(70, urgent=True)
        assert second.keep(30, urgent=True)


def test_what_passes_takes_no_room():
    with Keeping(Room(100)).account() as account:
        account.keep(90, urgent=False)
        assert account.keep(100, urgent=True)


def test_a_transfer_that_is_over_protects_its_pages_no_longer():
    room = Room(100)
    keeping = Keeping(room)
    with keeping.account() as account:
        account.keep(60, urgent=True)
    with keeping.account() as account:
        account.keep(60, urgent=True)
    assert room.kept == [0, 0]


def test_nor_does_one_that_failed():
    room = Room(100)
    keeping = Keeping(room)
    with pytest.raises(TypeError), keeping.account() as account:
        account.keep("broken", urgent=account.keep(60, urgent=True))
    with keeping.account() as account:
        assert account.keep(100, urgent=True)


def test_it_counts_what_stayed_and_what_passed():
    keeping = Keeping(Room(100))
    with keeping.account() as account:
        for size, urgent in ((60, True), (60, True), (7, False)):
            account.keep(size, urgent=urgent)
        assert account.kept == 60
    assert (keeping.kept_bytes, keeping.passed_bytes) == (60, 67)
