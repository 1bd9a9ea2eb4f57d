"""Write the pins of requirements.lock and requirements-dev.lock into pixi.toml, between its markers."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(lock: str) -> str:
    """The lines of a lock as pixi's pypi-dependencies."""
    lines = [line for line in lock.splitlines() if "==" in line]
    pairs = [line.split("==") for line in lines]
    return "".join(f'{json.dumps(name) if "." in name else name} = "=={version}"\n' for name, version in pairs)


def manifest(text: str, root: Path) -> str:
    """`text` of pixi.toml with the pins of the locks below `root`."""
    for mark, file in (("run", "requirements.lock"), ("dev", "requirements-dev.lock")):
        block = f"# {mark} pins: begin\n{pins((root / file).read_text(encoding='utf-8'))}# {mark} pins: end"
        text = re.sub(rf"# {mark} pins: begin\n.*?# {mark} pins: end", block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    path = ROOT / "pixi.toml"
    path.write_text(manifest(path.read_text(encoding="utf-8"), ROOT), encoding="utf-8")
