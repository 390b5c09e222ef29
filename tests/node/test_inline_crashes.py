"""The agent dies at any step of an inline volume's life: the next one publishes or unpublishes it, and nothing stays."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from csi_model.store.holds import Holds
from csi_model.store.store import Store
from tests.fakes.mounts import FakeMounts

STEPS = 24
"""More than there are effects in a publish or an unpublish, counted before and after each."""


class Crash(BaseException):
    """The process ends here."""


class Mortal:
    """Dies before or after the n-th change that this thread makes to the disk or the mount table; the dead do nothing."""

    def __init__(self, monkeypatch, steps):
        self._left, self._mine = steps, threading.get_ident()
        self.died = False
        for kind, names in EFFECTS.items():
            for name in names:
                monkeypatch.setattr(kind, name, self._mortal(getattr(kind, name)))

    def _mortal(self, real):
        def effect(*arguments, **named):
            if threading.get_ident() != self._mine:
                return real(*arguments, **named)
            self._step()
            done = real(*arguments, **named)
            self._step()
            return done

        return effect

    def _step(self):
        self.died = self.died or self._left == 0
        self._left -= 1
        if self.died:
            raise Crash


EFFECTS = {
    Holds: ("put", "drop"),
    Store: ("save_manifest",),
    FakeMounts: ("bind_read_only", "unmount"),
    Path: ("mkdir", "rmdir"),
}


def dies(monkeypatch, steps, action):
    """Do something that dies after so many steps; tells whether it did."""
    with monkeypatch.context() as patched:
        mortal = Mortal(patched, steps)
        with suppress(Crash):
            action()
    return mortal.died


def is_clean(node):
    return (node.store.holds.all(), node.mounts.table(), node.inline_target().exists()) == ([], {}, False)


@pytest.fixture
def staged(node):
    """A node that has the model already, so that no other thread takes part."""
    volume = node.create()
    node.stage(volume)
    node.unstage(volume)
    return node


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_publish_that_died_is_undone_by_unpublish(staged, monkeypatch, steps):
    dies(monkeypatch, steps, staged.publish_inline)
    staged.restart()
    staged.unpublish_inline()
    assert is_clean(staged)


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_publish_that_died_is_done_by_the_next_one(staged, monkeypatch, steps):
    dies(monkeypatch, steps, staged.publish_inline)
    staged.restart()
    assert staged.publish_inline() in staged.mounts.table()
    staged.unpublish_inline()
    assert is_clean(staged)


@pytest.mark.parametrize("steps", range(STEPS))
def test_an_unpublish_that_died_is_done_by_the_next_one(staged, monkeypatch, steps):
    staged.publish_inline()
    dies(monkeypatch, steps, staged.unpublish_inline)
    staged.restart()
    staged.unpublish_inline()
    assert is_clean(staged)


def test_the_steps_are_all_there_are(staged, monkeypatch):
    assert dies(monkeypatch, 0, staged.publish_inline)
    assert not dies(monkeypatch, STEPS, staged.publish_inline)
    assert not dies(monkeypatch, STEPS, staged.unpublish_inline)


def test_a_hold_that_a_dead_agent_left_ends_with_the_pods_directory(staged, monkeypatch):
    target = staged.inline_target()
    assert dies(monkeypatch, 6, staged.publish_inline)
    staged.restart()
    assert [hold.volume_id for hold in staged.store.holds.all()] == ["csi-1"]
    for left in (target, target.parent):
        if left.exists():
            left.rmdir()
    assert staged.agent.collect_holds() == ["csi-1"]
