"""The engine as for a warm-up that nobody waits for: past the page cache."""

from bench.contenders import run
from bench.contenders.engine import bring

if __name__ == "__main__":
    run(lambda job: bring(job, urgent=False))
