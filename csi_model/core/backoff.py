"""Back-off: how long to wait after failures in a row."""

import random


def pause_after(failures: int, first: float, most: float) -> float:
    """Return the seconds until the next try: twice as long with each failure, with jitter that spreads load.

    Args:
        failures: in a row, one or more.
        first: seconds after the first one, at most; half of that at least.
        most: seconds that no pause exceeds.

    """
    pause = min(most, first * 2.0 ** min(failures - 1, 16))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - to spread load, not to keep a secret
