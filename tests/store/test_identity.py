"""The names of what isn't here yet: they are on nodes' disks, so they must stay what they are."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.manifest import Entry
from csi_model.store.identity import ingest_name, memo_names
from tests.store.shelf import entry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def sha256_of(*parts):
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


@given(TEXT, TEXT, TEXT, st.integers(0, 2**44))
def test_an_ingest_is_named_by_a_list_in_json(origin, key, pin, size):
    assert ingest_name(origin, Entry("a", size, key, pin)) == sha256_of("pinned", origin, key, pin, size)


def test_only_a_sha256_names_bytes_wherever_they_are():
    item = entry("a", 3, sha256=b"abc")
    assert list(memo_names("o", item))[1:] == list(memo_names("other", item))[1:]
    assert list(memo_names("o", item))[1:] == [sha256_of("sha256", hashlib.sha256(b"abc").hexdigest(), 3)]
    assert list(memo_names("o", entry("a", 3))) == [ingest_name("o", entry("a", 3))]
