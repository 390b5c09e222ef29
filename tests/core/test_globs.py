import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.globs import Selection, check_glob

ALPHABET = "ab/*?[]!^-.&|~\\("


def admits(glob: str, path: str) -> bool:
    return Selection(include=[glob]).admits(path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.bin", "a.bin"), ("*.bin", "deep/in/a.bin"), ("*", "a/b"), ("**", "a/b"), ("a?c", "abc"), ("[ab].x", "b.x"),
        ("[!ab].x", "c.x"), ("[]].x", "].x"), ("[!]].x", "a.x"), ("[a-c]", "b"), ("[--0]", "-"), ("[&&]", "&"), ("[[]", "["),
        ("original/**", "original/a"), ("original/**", "original/a/b"), ("original/", "original/a/b"), ("a/*", "a/b"),
        ("**/a", "a"), ("**/a", "x/y/a"), ("a/**/b", "a/b"), ("a/**/b", "a/x/y/b"), ("**/x/**/y/*", "x/x/y/y/z"),
        ("a**b", "axyb"), ("*.BIN", "a.BIN"), ("a.b", "a.b"), ("(a|b)", "(a|b)"), ("^a", "^a"), ("*", "a\nb"), ("*", ".hidden"),
    ],
)  # fmt: skip
def test_a_glob_matches(glob: str, path: str):
    check_glob(glob)
    assert admits(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.bin", "a.bin.txt"), ("*.bin", "a.bin/b"), ("a?c", "a/c"), ("x/a?c", "x/a/c"), ("x/a[!b]c", "x/a/c"), ("[ab].x", "c.x"),
        ("[!ab].x", "a.x"), ("[!]].x", "].x"), ("original/**", "original"), ("original/**", "x/original/a"), ("a/*", "a/b/c"),
        ("a/*", "x/a/b"), ("**/a", "xa"), ("a/**/b", "a/xb"), ("a**b", "ax/yb"), ("*.bin", "a.BIN"), ("a.b", "axb"), ("a", "ab"),
        ("a", "a\n"), ("a/b", "a/b/c"), ("a/b/c", "a/b"),
    ],
)  # fmt: skip
def test_a_glob_does_not_match(glob: str, path: str):
    check_glob(glob)
    assert not admits(glob, path)


@pytest.mark.parametrize("glob", ["", "/a", "..", "a/../b", "./a", "[", "a[b", "a[]", "a[!]", "a[/]b", "x" * 257])
def test_a_glob_that_means_nothing_is_refused(glob: str):
    with pytest.raises(ValueError, match="glob"):
        check_glob(glob)


def test_include_and_exclude_work_together():
    selection = Selection(include=["*.bin", "*.json"], exclude=["original/**", "b*"])
    assert [p for p in ("a.bin", "b.bin", "a.txt", "original/a.bin", "x/c.json") if selection.admits(p)] == [
        "a.bin",
        "x/c.json",
    ]


def test_an_empty_selection_admits_everything():
    assert Selection().admits("any/thing")


@given(st.text(ALPHABET, min_size=1, max_size=12), st.text(ALPHABET, min_size=1, max_size=12))
def test_what_is_accepted_never_crashes_or_warns(glob: str, path: str):
    try:
        check_glob(glob)
    except ValueError:
        return
    assert admits(glob, path) in (True, False)
    assert Selection(exclude=[glob]).admits(path) is not admits(glob, path)


def plain(glob: str) -> re.Pattern[str]:
    """The textbook translation, which is right and may take for ever."""
    names = glob.split("/")
    if names[-1] == "**":
        names[-1:] = ["**", "*"]
    elif len(names) == 1:
        names.insert(0, "**")
    parts = [
        "(?:[^/]*/)*" if n == "**" else re.escape(n).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") + "/" for n in names
    ]
    return re.compile("".join(parts) + r"\Z", re.DOTALL)


@given(st.text("ab*?/", min_size=1, max_size=9), st.text("ab/", min_size=1, max_size=9))
def test_it_agrees_with_the_textbook(glob: str, path: str):
    if not glob.startswith("/") and not glob.endswith("/"):
        assert admits(glob, path) == bool(plain(glob).match(path + "/")), (glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*a" * 120 + "*b", "a" * 255),
        ("?*" * 120 + "b", "a" * 255),
        ("/".join(["**", "*a*"] * 30) + "/b", "/".join(["aaaa"] * 32)),
        ("**/" * 80 + "b", "/".join("a" * 32)),
    ],
)
def test_a_hostile_pair_is_matched_in_no_time(glob: str, path: str):
    """With a translation that backtracks this test would not end."""
    check_glob(glob)
    assert not any(admits(glob, path + str(number)) for number in range(50))
