from csi_model.cluster.tee import Tee


class Heard:
    def __init__(self):
        self.all = []

    def replaced(self, objects):
        self.all.append(dict(objects))

    def changed(self, key, value):
        self.all.append((key, value))


def test_every_listener_hears_everything_in_order():
    first, second = Heard(), Heard()
    tee = Tee(first)
    tee.add(second)
    tee.replaced({("", "a"): 1})
    tee.changed(("", "b"), 2)
    tee.changed(("", "a"), None)
    assert first.all == second.all == [{("", "a"): 1}, (("", "b"), 2), (("", "a"), None)]
