from csi_model.core.manifest import Entry, Manifest
from csi_model.transfer.plan import Plan

MODEL = Manifest.of("s3:x", [Entry("a", 3, "a", "1"), Entry("b", 5, "b", "2"), Entry("empty", 0, "e", "3")])


def paths(plan):
    return [entry.path for entry in plan.missing]


def test_what_is_missing_comes_largest_first():
    assert paths(Plan.of(MODEL, set())) == ["b", "a"]


def test_what_is_here_is_not_planned():
    assert paths(Plan.of(MODEL, {"b"})) == ["a"]


def test_present_counts_the_bytes_that_are_here():
    assert Plan.of(MODEL, {"b"}).present == 5


def test_empty_files_are_never_missing():
    assert not Plan.of(Manifest.of("s3:x", [Entry("empty", 0, "e", "3")]), set()).missing
