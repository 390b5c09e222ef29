"""What every Source must do, whatever it is made of. A subclass gives the fixtures ``place`` and ``versioned_place``.

A place has ``put(path, data)`` (which also overwrites), ``delete(path)`` and ``source()``, and is the bucket or the
like that ``place.reference(path)`` points into.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_model.core.globs import Selection
from csi_model.errors import SourceChanged, SourceError, SourceInvalid, SourceNotFound
from csi_model.sources.base import Abort, read_into

ALL = Selection()


def resolve(place, path="qwen", selection=ALL):
    source = place.source()
    try:
        return source.resolve(place.reference(path), selection)
    finally:
        source.close()


def paths(manifest):
    return [entry.path for entry in manifest.entries]


def read(source, entry, start=0, end=None):
    data = bytearray((entry.size if end is None else end) - start)
    with source.open(entry) as reader:
        read_into(reader, start, memoryview(data))
    return bytes(data)


def blocks_of(memory, *lengths):
    """Cut memory into views of the given lengths, side by side."""
    ends = [sum(lengths[: count + 1]) for count in range(len(lengths))]
    return [memory[end - length : end] for length, end in zip(lengths, ends, strict=True)]


class SourceContract:
    def test_resolve_lists_files_sorted_with_sizes(self, place):
        place.put("qwen/model.safetensors", b"weights")
        place.put("qwen/config.json", b"{}")
        manifest = resolve(place)
        assert [(entry.path, entry.size) for entry in manifest.entries] == [
            ("config.json", 2),
            ("model.safetensors", 7),
        ]

    def test_every_entry_is_pinned(self, place):
        place.put("qwen/a", b"1")
        assert all(entry.pin for entry in resolve(place).entries)

    def test_the_manifest_names_the_origin(self, place):
        place.put("qwen/a", b"1")
        assert resolve(place).origin == place.source_origin()

    def test_the_same_place_gives_the_same_digest(self, place):
        place.put("qwen/a", b"1")
        place.put("qwen/b", b"2")
        assert resolve(place).digest == resolve(place).digest

    def test_other_bytes_give_another_digest(self, place):
        place.put("qwen/a", b"1")
        before = resolve(place).digest
        place.put("qwen/a", b"2")
        assert resolve(place).digest != before

    def test_a_sibling_whose_name_begins_alike_is_left_out(self, place):
        place.put("qwen/a", b"1")
        place.put("qwen-2/b", b"2")
        place.put("qwen.txt", b"3")
        assert paths(resolve(place)) == ["a"]

    def test_subdirectories_keep_their_paths(self, place):
        place.put("qwen/original/deep/x.pth", b"1")
        place.put("qwen/a", b"2")
        assert paths(resolve(place)) == ["a", "original/deep/x.pth"]

    def test_an_empty_file_is_an_entry(self, place):
        place.put("qwen/.keep", b"")
        assert [(entry.path, entry.size) for entry in resolve(place).entries] == [(".keep", 0)]

    def test_a_reference_to_one_file_is_a_model_of_one_file(self, place):
        place.put("gguf/model.gguf", b"weights")
        manifest = resolve(place, "gguf/model.gguf")
        assert paths(manifest) == ["model.gguf"]
        assert read(place.source(), manifest.entries[0]) == b"weights"

    def test_a_selection_chooses(self, place):
        for name in ("a.safetensors", "b.bin", "original/c.safetensors"):
            place.put(f"qwen/{name}", b"1")
        chosen = Selection(include=("*.safetensors",), exclude=("original/**",))
        assert paths(resolve(place, selection=chosen)) == ["a.safetensors"]

    def test_a_selection_of_nothing_is_not_found_and_says_why(self, place):
        place.put("qwen/a", b"1")
        with pytest.raises(SourceNotFound, match="include"):
            resolve(place, selection=Selection(include=("*.gguf",)))

    def test_nothing_there_is_not_found(self, place):
        place.put("qwen/a", b"1")
        with pytest.raises(SourceNotFound, match="qwem"):
            resolve(place, "qwem")

    def test_not_found_says_what_lies_nearby(self, place):
        place.put("qwen/a", b"1")
        with pytest.raises(SourceNotFound, match="qwen"):
            resolve(place, "qwem")

    @pytest.mark.parametrize("key", ["../up", "a/../../up", "a//b", "./a", "bell\x07", "x" * 300])
    def test_a_hostile_path_is_refused_and_not_hidden(self, place, key):
        place.put("qwen/good", b"1")
        place.put_raw(f"qwen/{key}", b"2")
        with pytest.raises(SourceInvalid):
            resolve(place)

    def test_a_file_that_is_also_a_directory_is_refused(self, place):
        place.put("qwen/a", b"1")
        place.put_raw("qwen/a/b", b"2")
        with pytest.raises(SourceInvalid, match="both"):
            resolve(place)

    def test_strange_names_arrive_as_they_are(self, place):
        names = ["a b+c%20d&e=f?g#h.json", "naïve-模型.bin", "quote'\"<&>.txt", "~tilde(1).bin"]
        for name in names:
            place.put(f"qwen/{name}", name.encode())
        source, manifest = place.source(), resolve(place)
        assert {entry.path: read(source, entry) for entry in manifest.entries} == {n: n.encode() for n in names}

    def test_the_first_the_last_and_all_bytes_are_exact(self, place):
        data = random.Random(1).randbytes(100_000)
        place.put("qwen/a", data)
        source, entry = place.source(), resolve(place).entries[0]
        assert read(source, entry, 0, 1) == data[:1]
        assert read(source, entry, 99_999, 100_000) == data[-1:]
        assert read(source, entry) == data

    def test_ranges_from_several_threads_are_exact(self, place):
        data = random.Random(2).randbytes(300_000)
        place.put("qwen/a", data)
        source, entry = place.source(), resolve(place).entries[0]
        spans = [(start, min(start + 7919, len(data))) for start in range(0, len(data), 7919)]
        with source.open(entry) as reader, ThreadPoolExecutor(4) as pool:

            def get(span):
                piece = bytearray(span[1] - span[0])
                read_into(reader, span[0], memoryview(piece))
                return bytes(piece)

            assert b"".join(pool.map(get, spans)) == data

    def test_a_read_fills_just_the_given_view(self, place):
        place.put("qwen/a", b"0123456789")
        memory = bytearray(b"." * 12)
        with place.source().open(resolve(place).entries[0]) as reader:
            read_into(reader, 2, memoryview(memory)[4:8])
        assert memory == b"....2345...."

    def test_the_views_of_one_read_are_filled_and_given_one_after_another(self, place):
        place.put("qwen/a", b"0123456789")
        views = blocks_of(memoryview(bytearray(8)), 3, 1, 4)
        with place.source().open(resolve(place).entries[0]) as reader:
            given = [(view, bytes(view)) for view in reader.read(1, views)]
        assert given == list(zip(views, [b"123", b"4", b"5678"], strict=True))

    def test_a_view_listed_several_times_is_filled_anew_each_time(self, place):
        data = random.Random(3).randbytes(200_000)
        place.put("qwen/a", data)
        with memoryview(bytearray(64_000)) as block, place.source().open(resolve(place).entries[0]) as reader:
            views = [block, block, block, block[:8_000]]
            assert b"".join(map(bytes, reader.read(0, views))) == data

    def test_a_read_that_is_left_early_spoils_nothing_for_the_next_one(self, place):
        data = random.Random(4).randbytes(300_000)
        place.put("qwen/a", data)
        source, entry = place.source(), resolve(place).entries[0]
        with memoryview(bytearray(1000)) as block, source.open(entry) as reader:
            blocks = reader.read(0, [block] * 300)
            assert bytes(next(blocks)) == data[:1000]
            blocks.close()
        assert read(source, entry) == data

    def test_a_read_that_was_not_begun_or_is_over_closes(self, place):
        place.put("qwen/a", b"0123456789")
        with memoryview(bytearray(10)) as block, place.source().open(resolve(place).entries[0]) as reader:
            reader.read(0, [block]).close()
            blocks = reader.read(0, [block])
            assert [bytes(view) for view in blocks] == [b"0123456789"]
            blocks.close()

    def test_a_closed_source_gives_true_bytes_or_an_error(self, place):
        data = random.Random(5).randbytes(3_000_000)
        place.put("qwen/a", data)
        source, entry, got = place.source(), resolve(place).entries[0], b""
        with memoryview(bytearray(10_000)) as block, source.open(entry) as reader:
            try:
                for number, view in enumerate(reader.read(0, [block] * 300)):
                    got += view
                    if number == 0:
                        source.close()
            except SourceError:
                assert len(got) < len(data)
        assert got
        assert data.startswith(got)

    def test_an_abort_between_reads_harms_nothing(self, place):
        place.put("qwen/a", b"0123456789")
        abort = Abort()
        abort()
        with memoryview(bytearray(10)) as block, place.source().open(resolve(place).entries[0]) as reader:
            for _ in range(2):
                assert [bytes(view) for view in reader.read(0, [block], abort)] == [b"0123456789"]
                abort()

    def test_a_right_to_read_can_be_proven_again(self, place):
        place.put("qwen/a", b"1")
        place.put("qwen/empty", b"")
        manifest, source = resolve(place), place.source()
        source.prove(manifest)
        source.prove(manifest)
        source.close()

    def test_what_was_overwritten_can_not_be_proven(self, place):
        place.put("qwen/a", b"1")
        manifest = resolve(place)
        place.put("qwen/a", b"2")
        source = place.source()
        with pytest.raises(SourceChanged):
            source.prove(manifest)
        source.close()

    def test_an_overwritten_file_without_versions_has_changed(self, place):
        place.put("qwen/a", b"old bytes")
        entry = resolve(place).entries[0]
        place.put("qwen/a", b"new bytes")
        with pytest.raises(SourceChanged):
            read(place.source(), entry)

    def test_a_deleted_file_without_versions_has_changed(self, place):
        place.put("qwen/a", b"old bytes")
        place.put("qwen/b", b"stays")
        entry = resolve(place).entries[0]
        place.delete("qwen/a")
        with pytest.raises(SourceChanged):
            read(place.source(), entry)

    def test_an_overwritten_file_with_versions_is_still_the_pinned_one(self, versioned_place):
        versioned_place.put("qwen/a", b"old bytes")
        entry = resolve(versioned_place).entries[0]
        versioned_place.put("qwen/a", b"new, longer bytes")
        assert read(versioned_place.source(), entry) == b"old bytes"

    def test_a_deleted_file_with_versions_is_still_the_pinned_one(self, versioned_place):
        versioned_place.put("qwen/a", b"old bytes")
        entry = resolve(versioned_place).entries[0]
        versioned_place.delete("qwen/a")
        assert read(versioned_place.source(), entry) == b"old bytes"

    def test_what_was_deleted_is_listed_no_more(self, versioned_place):
        versioned_place.put("qwen/a", b"1")
        versioned_place.put("qwen/b", b"2")
        versioned_place.delete("qwen/a")
        assert paths(resolve(versioned_place)) == ["b"]
