"""Exit codes of the process."""

OK = 0
FAILED = 1
USAGE = 2  # click's own
DAMAGED = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
