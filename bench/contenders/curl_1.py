"""curl with one stream: one file after the other."""

from bench.contenders import curl, run

if __name__ == "__main__":
    run(curl.one)
