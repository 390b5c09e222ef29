import contextlib

from hypothesis import given
from hypothesis import strategies as st

from csi_model.errors import InvalidArgument, VolumeNotFound
from csi_model.rpc import messages
from csi_model.rpc.generated import csi_pb2

modes = st.integers(-(2**31), 2**31 - 1)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
capabilities = st.one_of(
    st.builds(lambda mode: csi_pb2.VolumeCapability(access_mode={"mode": mode}), modes),
    st.builds(lambda mode: csi_pb2.VolumeCapability(block={}, access_mode={"mode": mode}), modes),
    st.builds(
        lambda mode, fs, flags: csi_pb2.VolumeCapability(
            mount={"fs_type": fs, "mount_flags": flags}, access_mode={"mode": mode}
        ),
        modes,
        text,
        st.lists(text),
    ),
)


@given(capabilities)
def test_any_capability_is_read_or_refused(message: csi_pb2.VolumeCapability) -> None:
    with contextlib.suppress(InvalidArgument):
        capability = messages.capability_of(message)
        assert capability.mode == message.access_mode.mode != 0
        assert capability.block == message.HasField("block")
        assert list(capability.mount_flags) == list(message.mount.mount_flags)


@given(text)
def test_any_path_is_absolute_or_refused(value: str) -> None:
    with contextlib.suppress(InvalidArgument):
        path = messages.path_of("target_path", value)
        assert path.is_absolute()
        path.exists()


@given(text)
def test_any_path_has_stats_or_none(value: str) -> None:
    with contextlib.suppress(InvalidArgument, VolumeNotFound):
        assert messages.stats_path(value).is_absolute()
