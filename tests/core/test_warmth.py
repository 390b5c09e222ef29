from csi_model.core.warmth import Progress


def test_progress_is_told_in_one_line():
    progress = Progress(total=16_400_000_000, present=12_000_000_000, rate=1.1e9)
    assert progress.words() == "12.0 GB of 16.4 GB, 1.10 GB/s, about 4.0 s left"


def test_a_stalled_warm_up_promises_nothing():
    progress = Progress(total=10, present=5, note="waiting for another warm-up")
    assert progress.seconds_left is None
    assert progress.words() == "5 B of 10 B, waiting for another warm-up"


def test_a_finished_one_has_nothing_left():
    assert Progress(total=10, present=10, rate=5.0).words() == "10 B of 10 B, 5 B/s"
    assert Progress(total=10, present=12, rate=5.0).seconds_left == 0


def test_the_last_moment_is_told_as_a_second():
    assert "about 1.0 s left" in Progress(total=10, present=9, rate=1e9).words()
