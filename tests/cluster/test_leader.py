import threading

import pytest

from csi_model.cluster.leader import Leader, Timing
from tests.fakes.clock import Clock

LEASES = "/apis/coordination.k8s.io/v1/namespaces/csi-model/leases"
LEASE = f"{LEASES}/csi-model-controller"


class Contender:
    def __init__(self, api, name):
        self.clock = Clock()
        self.news = []
        self.leader = Leader(
            api, namespace="csi-model", identity=name, clock=self.clock,
            began=lambda: self.news.append("began"), ended=lambda: self.news.append("ended"),
        )  # fmt: skip

    def step(self, seconds=0.0):
        self.clock.now += seconds
        self.leader.step()
        return self.leader.leading


@pytest.fixture
def a(api):
    return Contender(api, "a")


@pytest.fixture
def b(api):
    contender = Contender(api, "b")
    contender.clock.now += 1e6  # machines were started at different times
    return contender


def lease(server):
    (item,) = server.all(LEASES)
    return item["spec"]


def test_the_first_one_leads_and_says_so(server, a):
    assert a.step()
    assert a.news == ["began"]
    assert lease(server)["holderIdentity"] == a.leader.identity
    assert lease(server)["leaseDurationSeconds"] == 15


def test_the_second_one_waits_while_the_first_renews(a, b):
    assert a.step()
    for _ in range(30):
        assert a.step(2)
        assert not b.step(2)
    assert (a.news, b.news) == (["began"], [])


def test_one_that_is_silent_for_fifteen_seconds_is_followed(server, a, b):
    a.step()
    assert [b.step(seconds) for seconds in (0, 7, 7.9, 0.2)] == [False, False, False, True]
    assert lease(server)["leaseTransitions"] == 1


def test_a_leader_that_hears_nothing_of_the_api_stops_before_others_may_begin(server, a):
    a.step()
    server.failures = [500] * 5
    assert [a.step(3), a.step(3), a.step(3)] == [True, True, True]
    a.clock.now += 2
    assert not a.leader.leading  # even before the next try ends
    assert not a.step(0)
    assert a.news == ["began", "ended"]


def test_it_knows_whether_the_api_answers_also_while_another_one_leads(server, a, b):
    a.step()
    b.step()
    server.failures = [500] * 2
    b.step(9)
    assert b.leader.answered
    b.step(2)
    assert not b.leader.answered
    b.step()
    assert b.leader.answered


def test_one_that_lost_it_to_another_says_so_and_may_win_again(a, b):
    a.step()
    b.step()
    assert b.step(16)
    a.step(1)  # its version is an old one
    assert not a.step(0)
    assert a.news == ["began", "ended"]
    assert a.step(16)
    assert a.news == ["began", "ended", "began"]


def test_a_failure_in_between_changes_nothing(server, a):
    a.step()
    server.failures = [500, -1]
    assert a.step(2)
    assert a.step(2)
    assert a.step(2)
    assert a.news == ["began"]


def test_an_answer_that_was_lost_is_no_conflict_for_long(api, a):
    a.step()
    api.merge_patch(LEASE, {"metadata": {"annotations": {"touched": "yes"}}})
    assert a.step(2)
    assert a.step(2)
    assert a.news == ["began"]


def test_an_end_lets_go_of_it_at_once(server, a, b):
    a.step()
    b.step()
    a.leader.stop()
    assert a.news == ["began", "ended"]
    assert not a.leader.leading
    assert b.step(1)


def test_the_end_of_one_that_does_not_lead_changes_nothing(server, a, b):
    a.step()
    b.step()
    b.leader.stop()
    assert lease(server)["holderIdentity"] == a.leader.identity
    assert b.news == []


def test_a_name_alone_makes_nobody_leader(api, a):
    again = Contender(api, "a")
    assert a.step()
    assert not again.step()


@pytest.mark.parametrize("spec", [7, {}, {"holderIdentity": 7, "leaseTransitions": "x"}, None])
def test_an_odd_lease_is_nobodys_or_runs_out(server, a, spec):
    server.create(LEASES, {"metadata": {"name": "csi-model-controller"}, "spec": spec})
    a.step()
    assert a.step(16)


def test_a_lease_that_was_deleted_is_made_anew(server, a):
    a.step()
    server.delete(LEASE)
    a.step(2)
    assert a.step(2)
    assert lease(server)["holderIdentity"] == a.leader.identity


@pytest.mark.parametrize("names", ["ab", "abcd"])
def test_of_those_who_try_at_once_one_leads(api, names):
    contenders = [Contender(api, name) for name in names]
    gate = threading.Barrier(len(names))

    def race(contender):
        for _ in range(5):
            gate.wait()
            contender.step(1)

    threads = [threading.Thread(target=race, args=(contender,)) for contender in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(contender.leader.leading for contender in contenders) == 1
    assert sum(len(contender.news) for contender in contenders) == 1


def test_of_those_who_want_what_ran_out_one_leads(api, a):
    a.step()
    contenders = [Contender(api, name) for name in "bcde"]
    for contender in contenders:
        contender.step()
    threads = [threading.Thread(target=contender.step, args=(16,)) for contender in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(contender.leader.leading for contender in contenders) == 1


def test_threads_contend_and_the_next_one_follows(api):
    timing = Timing(lasts=0.5, deadline=0.4, retry=0.02)
    leading = {name: threading.Event() for name in "ab"}
    contenders = {
        name: Leader(api, namespace="csi-model", identity=name, began=leading[name].set, timing=timing)
        for name in "ab"
    }  # fmt: skip
    contenders["a"].start()
    assert leading["a"].wait(10)
    contenders["b"].start()
    contenders["a"].stop(10)
    assert leading["b"].wait(10)
    contenders["b"].stop(10)
