import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core import manifest as module
from csi_model.core.checksum import Algorithm, Checksum
from csi_model.core.manifest import MAX_ENTRY_SIZE, Entry, Manifest
from csi_model.errors import SourceInvalid

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TOKENS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    size = draw(st.integers(0, MAX_ENTRY_SIZE))
    checksum = None
    if draw(st.booleans()):
        algorithm = draw(st.sampled_from(Algorithm))
        parts = draw(st.sampled_from([(), ((size, 1),)])) if size else ()
        checksum = Checksum(algorithm, draw(st.binary(min_size=algorithm.size, max_size=algorithm.size)).hex(), parts)
    return Entry(draw(PATHS), size, draw(TOKENS), draw(TOKENS), checksum)


def is_tree(listed: list[Entry]) -> bool:
    paths = {entry.path for entry in listed}
    return not any(path.startswith(f"{other}/") for path in paths for other in paths)


LISTINGS = st.lists(entries(), max_size=8, unique_by=lambda entry: entry.path).filter(is_tree)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)


def entry(path: str = "a", **changes) -> Entry:
    return replace(Entry(path, 3, "key", "pin"), **changes)


def document(**changes) -> dict:
    return {"version": 1, "origin": "o", "entries": [{"path": "a", "size": 3, "key": "k", "pin": "p"}], **changes}


def parse(value) -> Manifest:
    return Manifest.parse(json.dumps(value).encode())


@given(TOKENS, LISTINGS)
def test_the_canonical_form_comes_back_equal(origin: str, listed: list[Entry]):
    manifest = Manifest.of(origin, listed)
    again = Manifest.parse(manifest.canonical)
    assert again == manifest
    assert again.canonical == manifest.canonical
    assert again.digest == manifest.digest


@given(LISTINGS, st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_the_listing(listed: list[Entry], random):
    shuffled = random.sample(listed, len(listed))
    assert Manifest.of("o", shuffled).digest == Manifest.of("o", listed).digest


@given(LISTINGS, LISTINGS)
def test_different_contents_have_different_digests(one: list[Entry], other: list[Entry]):
    first, second = Manifest.of("o", one), Manifest.of("o", other)
    assert (first.digest == second.digest) == (first == second)


@given(LISTINGS)
def test_a_manifest_read_by_its_digest_has_that_digest(listed: list[Entry]):
    manifest = Manifest.of("o", listed)
    assert Manifest.parse(manifest.canonical, digest=manifest.digest).digest == manifest.digest


def test_another_manifest_than_the_one_asked_for_is_refused():
    asked, found = Manifest.of("o", [entry()]), Manifest.of("o", [entry(size=4)])
    with pytest.raises(SourceInvalid, match=asked.digest):
        Manifest.parse(found.canonical, digest=asked.digest)


def test_the_canonical_form_is_compact_json_with_sorted_keys():
    manifest = Manifest.of("ü", [entry("a\u2028"), entry('"')])
    form = json.dumps(json.loads(manifest.canonical), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert manifest.canonical.decode() == form


def test_the_origin_is_part_of_the_digest():
    assert Manifest.of("a", [entry()]).digest != Manifest.of("b", [entry()]).digest


def test_the_canonical_form_is_this_one():
    """A change of it renames every tree on every node: it takes a new version."""
    listed = [entry("b/ü", size=0), entry(checksum=Checksum(Algorithm.MD5, "00" * 16, ((2, 1), (1, 1))))]
    assert Manifest.of("s3|x", listed).canonical.decode() == (
        '{"entries":[{"checksum":{"algorithm":"md5","parts":[[2,1],[1,1]],"value":"00000000000000000000000000000000"},'
        '"key":"key","path":"a","pin":"pin","size":3},{"key":"key","path":"b/ü","pin":"pin","size":0}],'
        '"origin":"s3|x","version":1}'
    )


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../b", "./a", "a/.", "a\0b", "a\nb", "a\x7fb", "\x1b[2J",
        "x" * 256, "ü" * 128, "/".join("abcdefgh" for _ in range(33)), "/".join(["d" * 200] * 6), "\ud800",
    ],
)  # fmt: skip
def test_a_hostile_path_is_refused(path: str):
    with pytest.raises(SourceInvalid):
        Manifest.of("o", [entry(path)])


@pytest.mark.parametrize("path", ["...", "a..b", " ", "a b", "-rf", "\\", "C:\\x", "~", "模型", "x" * 255, "\u202e"])
def test_a_strange_path_is_still_a_path(path: str):
    assert Manifest.of("o", [entry(path)]).entries[0].path == path


@given(st.text())
def test_every_accepted_path_stays_below_its_root(path: str):
    try:
        Manifest.of("o", [entry(path)])
    except SourceInvalid:
        return
    assert path
    assert not {"", ".", ".."} & set(path.split("/"))
    assert "\0" not in path


@pytest.mark.parametrize("size", [-1, MAX_ENTRY_SIZE + 1, 10**5000], ids=["negative", "too large", "huge"])
def test_an_impossible_size_is_refused(size: int):
    with pytest.raises(SourceInvalid, match="size"):
        Manifest.of("o", [entry(size=size)])


def test_a_path_listed_twice_is_refused():
    with pytest.raises(SourceInvalid, match="twice"):
        Manifest.of("o", [entry(), entry(size=4)])


@pytest.mark.parametrize("below", ["a/b", "a/b/c/d"])
def test_a_file_that_is_also_a_directory_is_refused(below: str):
    with pytest.raises(SourceInvalid, match="'a'"):
        Manifest.of("o", [entry(below), entry("a")])


def test_too_many_files_are_refused_without_listing_them_all(monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    endless = (entry(str(number)) for number in iter(int, 1))
    with pytest.raises(SourceInvalid):
        Manifest.of("o", (replace(one, path=str(number)) for number, one in enumerate(endless)))


@pytest.mark.parametrize("name", ["key", "pin"])
@pytest.mark.parametrize("text", ["\ud800", "x" * 5000])
def test_a_key_or_pin_that_cannot_be_written_down_is_refused(name: str, text: str):
    with pytest.raises(SourceInvalid, match=name):
        Manifest.of("o", [entry(**{name: text})])
    with pytest.raises(SourceInvalid, match="origin"):
        Manifest.of(text, [])


def test_checksum_parts_that_do_not_add_up_are_refused():
    with pytest.raises(SourceInvalid, match="add up"):
        Manifest.of("o", [entry(checksum=Checksum(Algorithm.MD5, "00" * 16, ((2, 1),)))])


def test_checksum_parts_without_end_are_refused():
    parts = ((1, MAX_ENTRY_SIZE),)
    with pytest.raises(SourceInvalid, match="parts"):
        Manifest.of("o", [entry(size=MAX_ENTRY_SIZE, checksum=Checksum(Algorithm.MD5, "00" * 16, parts))])


def test_sizes_and_counts():
    manifest = Manifest.of("o", [entry("a"), entry("b", checksum=Checksum(Algorithm.MD5, "00" * 16))])
    assert (manifest.size, manifest.files, manifest.checked_files) == (6, 2, 1)


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
def test_parsing_anything_gives_a_manifest_or_source_invalid(data: bytes):
    try:
        Manifest.parse(data)
    except SourceInvalid:
        return
    raise AssertionError


@given(st.sampled_from(["version", "origin", "entries"]), JSON)
def test_a_field_of_another_type_is_source_invalid(name: str, value):
    try:
        manifest = parse(document(**{name: value}))
    except SourceInvalid:
        return
    assert type(value) is {"version": int, "origin": str, "entries": list}[name]
    assert Manifest.parse(manifest.canonical) == manifest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", True), ("size", 3.0), ("size", "3"), ("size", float("nan")), ("size", float("inf")), ("size", None),
        ("path", 7), ("path", None), ("key", []), ("pin", {}), ("key", "\ud800"),
        ("checksum", None), ("checksum", {}), ("checksum", {"algorithm": [], "value": "00"}),
        ("checksum", {"algorithm": "md5", "value": 7}), ("checksum", {"algorithm": "md5", "value": "0g" * 16}),
        ("checksum", {"algorithm": "md5", "value": "00" * 16, "parts": [[float("inf"), 1]]}),
        ("checksum", {"algorithm": "md5", "value": "00" * 16, "parts": [[3.0, 1]]}),
        ("checksum", {"algorithm": "md5", "value": "00" * 16, "parts": [[3, True]]}),
        ("checksum", {"algorithm": "md5", "value": "00" * 16, "parts": [[-3, -1]]}),
        ("checksum", {"algorithm": "md5", "value": "00" * 16, "parts": 7}),
    ],
)  # fmt: skip
def test_an_entry_of_another_form_is_source_invalid(name: str, value):
    item = {**document()["entries"][0], name: value}
    with pytest.raises(SourceInvalid):
        parse(document(entries=[item]))


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None, float("nan")])
def test_another_version_is_refused(version):
    with pytest.raises(SourceInvalid):
        parse(document(version=version))


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"entries":' * 100_000, b"\xff", b"", b"null", b"1" * 5000])
def test_hostile_json_is_source_invalid(data: bytes):
    with pytest.raises(SourceInvalid):
        Manifest.parse(data)
