import pytest

from csi_model.core.capability import MOUNT_FLAGS, AccessMode, Capability, check, check_all
from csi_model.errors import InvalidArgument, UnsupportedCapability

ACCEPTED_AND_SINGLE = {
    AccessMode.SINGLE_NODE_WRITER: True,
    AccessMode.SINGLE_NODE_READER_ONLY: True,
    AccessMode.SINGLE_NODE_SINGLE_WRITER: True,
    AccessMode.SINGLE_NODE_MULTI_WRITER: False,
    AccessMode.MULTI_NODE_READER_ONLY: False,
}


@pytest.mark.parametrize(("mode", "single"), ACCEPTED_AND_SINGLE.items())
def test_readers_and_writers_on_one_node_are_accepted(mode: AccessMode, single: bool):
    check(Capability(mode, mount_flags=tuple(MOUNT_FLAGS)))
    assert Capability(mode).single_target is single


@pytest.mark.parametrize("mode", [AccessMode.MULTI_NODE_SINGLE_WRITER, AccessMode.MULTI_NODE_MULTI_WRITER])
def test_writers_on_many_nodes_are_told_what_to_use(mode: AccessMode):
    with pytest.raises(UnsupportedCapability, match="use ReadOnlyMany"):
        check(Capability(mode))


def test_every_mode_of_the_protocol_has_an_answer():
    refused = {AccessMode.UNKNOWN, AccessMode.MULTI_NODE_SINGLE_WRITER, AccessMode.MULTI_NODE_MULTI_WRITER}
    assert set(AccessMode) == set(ACCEPTED_AND_SINGLE) | refused


def test_a_missing_mode_is_an_invalid_argument():
    with pytest.raises(InvalidArgument, match="access_mode"):
        check(Capability(AccessMode.UNKNOWN))


def test_block_volumes_are_told_the_reason():
    with pytest.raises(UnsupportedCapability, match="volumeMode: Filesystem"):
        check(Capability(AccessMode.SINGLE_NODE_WRITER, block=True))


@pytest.mark.parametrize("flag", ["rw", "suid", "dev", "exec", "remount", "bind", "", "ro,rw", "RO"])
def test_a_flag_that_could_loosen_the_mount_is_refused(flag: str):
    with pytest.raises(UnsupportedCapability, match="mount option"):
        check(Capability(AccessMode.SINGLE_NODE_WRITER, mount_flags=("ro", flag)))


def test_all_of_a_list_have_to_fit():
    fine, bad = Capability(AccessMode.SINGLE_NODE_WRITER), Capability(AccessMode.MULTI_NODE_MULTI_WRITER)
    check_all([fine, fine])
    with pytest.raises(UnsupportedCapability):
        check_all([fine, bad])
    with pytest.raises(InvalidArgument, match="missing"):
        check_all(iter(()))
