"""`python -m septet.sampler bench`."""

from pathlib import Path

from septet.cli import main


def _bench(quick: bool, file: Path) -> None:
    """Measure environment steps per second beside the peers and bare mj_step."""
    from septet.sampler.bench import bench

    bench(quick, file)


if __name__ == "__main__":
    main("sampler", {}, _bench)
