"""What S3 lists: pages, markers, neighbours, and races between a listing and its HEADs."""

import pytest

from csi_model.core.globs import Selection
from csi_model.errors import SourceNotFound
from tests.contracts.source_contract import paths, read, resolve


@pytest.fixture
def place(place_in):
    return place_in("models")


def test_more_than_a_page_of_keys_is_listed(place, server):
    names = [f"{index:04d}" for index in range(1203)]
    for name in names:
        place.put(f"qwen/{name}", b"")
    assert paths(resolve(place)) == names
    assert sum(request.key == "" for request in server.requests) == 2


def test_directory_markers_are_skipped(place):
    place.put("qwen/", b"")
    place.put("qwen/sub/", b"")
    place.put("qwen/sub/a", b"1")
    assert paths(resolve(place)) == ["sub/a"]


def test_only_a_marker_is_nothing(place):
    place.put("qwen/", b"")
    with pytest.raises(SourceNotFound):
        resolve(place)


def test_a_whole_bucket_is_a_model(place):
    place.put("a", b"1")
    place.put("sub/b", b"2")
    assert paths(resolve(place, "")) == ["a", "sub/b"]


def test_an_empty_bucket_is_nothing(place):
    with pytest.raises(SourceNotFound, match="the bucket is empty"):
        resolve(place, "")


def test_the_names_nearby_begin_with_the_most_alike(place):
    for name in ["apple", "llama-3", "mistral", "phi", "qwen3-8b", "qwen3-14b", "zephyr"]:
        place.put(f"models/{name}/config.json", b"{}")
    with pytest.raises(SourceNotFound, match=r"nearby are 'qwen3-8b/', 'qwen3-14b/'") as caught:
        resolve(place, "models/qwen3-8")
    assert str(caught.value).count("/'") == 5


def test_a_missing_bucket_is_not_found(place_in):
    with pytest.raises(SourceNotFound, match="s3://missing/qwen"):
        resolve(place_in("missing"))


def test_only_chosen_files_are_asked_about(place, server):
    place.put("qwen/a.safetensors", b"1")
    place.put("qwen/b.bin", b"2")
    resolve(place, selection=Selection(exclude=("*.bin",)))
    assert not [request for request in server.requests if request.key == "qwen/b.bin"]


def test_resolving_reads_at_most_one_byte(place, server):
    place.put("qwen/a", b"x" * 1000)
    place.put("qwen/b", b"x" * 10)
    resolve(place)
    assert [(r.key, r.range) for r in server.requests if r.method == "GET" and r.key] == [("qwen/b", "bytes=0-0")]


def test_a_version_is_pinned_by_its_id_and_everything_else_by_its_etag(place, place_in):
    place.put("qwen/a", b"1")
    place_in("versions").put("qwen/a", b"1")
    assert resolve(place).entries[0].pin == 'etag:"c4ca4238a0b923820dcc509a6f75849b"'
    assert resolve(place_in("versions")).entries[0].pin == "version:v0000000001"


def test_what_changes_between_the_listing_and_its_head_is_pinned_as_the_head_has_it(place, server, monkeypatch):
    place.put("qwen/a", b"old")
    source = place.source()
    head, made = source._ready().client.head_object, []

    def overwritten_first(**params):
        if not made:
            made.append(place.put("qwen/a", b"new and longer"))
        return head(**params)

    monkeypatch.setattr(source._ready().client, "head_object", overwritten_first)
    entry = source.resolve(place.reference("qwen"), Selection()).entries[0]
    assert read(source, entry) == b"new and longer"
