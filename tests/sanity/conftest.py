import pytest

from tests.harness import served_model


@pytest.fixture
def s3(tmp_path):
    with served_model(tmp_path / "s3") as server:
        yield server
