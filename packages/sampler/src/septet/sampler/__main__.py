"""`python -m septet.sampler bench`."""

from septet.cli import main

if __name__ == "__main__":
    main("sampler", {}, "septet.sampler.bench")
