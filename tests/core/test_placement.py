import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_model.core.placement import (
    ALL,
    MAX_REPLICAS,
    Wants,
    label_of,
    read_replicas,
    read_selector,
    render_replicas,
    render_selector,
)


def test_the_label_of_a_revision_has_as_many_digits_as_fit_into_a_key():
    assert label_of("ab" * 32) == "csi-model.io/m-" + "ab" * 20


@given(st.integers(0, MAX_REPLICAS) | st.just(ALL))
def test_a_number_of_replicas_comes_back(replicas: int):
    assert read_replicas(render_replicas(replicas)) == replicas


@pytest.mark.parametrize("text", ["", "-1", "1.5", "100001", "1e3", "ALL", " 1", "٣", "1\n"])
def test_what_is_no_number_of_nodes_is_refused(text: str):
    with pytest.raises(ValueError, match="want a number of nodes or all"):
        read_replicas(text)


def test_a_selector_has_one_form_whatever_way_it_is_written():
    assert read_selector(" zone = a, gpu=h100,, gpu=h100") == (("gpu", "h100"), ("zone", "a"))
    assert read_selector("  ") == ()


@pytest.mark.parametrize("text", ["gpu", "=a", "gpu=h 100", "gpu==a", "a/b/c=d", "gpu in (a)", "x" * 64 + "=a", "a=ü"])
def test_what_is_no_label_is_refused(text: str):
    with pytest.raises(ValueError, match="want label=value"):
        read_selector(text)


def test_two_values_of_one_label_are_refused():
    with pytest.raises(ValueError, match="two values of the label gpu"):
        read_selector("gpu=a,gpu=b")


@given(st.text("ab.-_/=, ", max_size=20))
def test_an_accepted_selector_comes_back(text: str):
    try:
        selector = read_selector(text)
    except ValueError:
        return
    assert read_selector(render_selector(selector)) == selector


def test_a_node_counts_if_it_has_all_labels():
    wants = Wants(node_selector=(("gpu", "h100"), ("zone", "a")))
    assert wants.matches({"gpu": "h100", "zone": "a", "more": ""})
    assert not wants.matches({"gpu": "h100", "zone": "b"})
    assert not wants.matches({"gpu": "h100"})
    assert Wants().matches({})
