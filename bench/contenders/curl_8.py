"""curl with eight streams."""

from bench.contenders import curl, run

if __name__ == "__main__":
    run(curl.eight)
