"""`python -m septet.rl videos PUBLISHED`: a video and a filmstrip of one published policy per task.

Next to each video are a filmstrip of four frames, small enough for the report page, and a card that names the policy.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from septet.errors import InputError
from septet.files import replacing
from septet.model_files import CARD
from septet.rl.model_arguments import ROOT
from septet.rl.watch import Frame, choose_renderer, frames, look_of, rate_of, write_video
from septet.sealed import write_json
from septet.workflow_config import SCALES

if TYPE_CHECKING:
    from septet.rl.models import Model

FRAMES = 4
"""Of a filmstrip."""
HEIGHT = 120
"""Of a filmstrip in pixels, or a little more: a frame is shrunk by a whole factor."""
QUALITY = 75
"""Of a filmstrip's JPEG."""


def published_models(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Paper and task -> the folders of its published policies, of the largest scale that has any.

    Args:
        folder: `published/`, with one folder per scale, or one such folder.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for scale in (".", *SCALES):  # a larger scale replaces a smaller one, paper by paper
        cards = sorted((folder / scale).glob(f"*/models/*/*/{CARD}"))
        papers = {card.parents[3].name for card in cards}
        found = {key: paths for key, paths in found.items() if key[0] not in papers}
        for card in cards:
            if any(card.parent.glob("policies.*")):
                found.setdefault((card.parents[3].name, card.parents[0].name), []).append(card.parent)
    return found


def chosen(paths: Sequence[Path], methods: Sequence[str]) -> tuple["Model", int]:
    """The policy to show: of the first of `methods` that there is, or of all, the one with the best score.

    Returns:
        Its model, and its row.
    """
    from septet.rl.models import load_model  # imports MuJoCo

    named = [path for method in methods for path in paths if path.parent.name == method][:1]
    models = [load_model(path) for path in named or paths]
    scored = [
        (-math.inf if score is None else score, model, row)
        for model in models
        for row, score in enumerate(model.card.kinds[model.kind("best")].scores)
    ]
    return max(scored, key=lambda one: one[0])[1:]


def film(model: "Model", row: int, stem: Path, suffix: str, steps: int) -> None:
    """Write `<stem><suffix>`, the filmstrip `<stem>.jpg` and the card `<stem>.json`.

    Raises:
        InputError: an environment that cannot be rendered, or no encoder.
    """
    import imageio

    card, kind = model.card, model.kind("best")
    policy = model.policies[kind].rows([row])
    shown = list(frames(policy, card.environment, steps=steps, root=ROOT))
    write_video(stem.with_suffix(suffix), iter(shown), rate_of(card.environment))
    strip = filmstrip(shown)
    with replacing(stem.with_suffix(".jpg")) as temporary:
        imageio.imwrite(temporary, strip, format="JPEG", quality=QUALITY)
    about = {
        "method": card.methods[row],
        "seed": card.seeds[row],
        "run": card.run,
        "judged_by": card.judged_by,
        "score": card.kinds[kind].scores[row],
        "rounded": card.rounded,
        "video": stem.with_suffix(suffix).name,
        "strip": stem.with_suffix(".jpg").name,
        "width": strip.shape[1],
        "height": strip.shape[0],
    }
    write_json(stem.with_suffix(".json"), about)


def filmstrip(shown: Sequence[Frame]) -> Frame:
    """Four frames at equal distances, from the first to the last, next to each other and shrunk."""
    at = np.linspace(0, len(shown) - 1, FRAMES).round().astype(int)
    return np.concatenate([shrunk(shown[k]) for k in at], axis=1)


def shrunk(frame: Frame) -> Frame:
    """A frame whose pixels are means of squares of pixels."""
    factor = max(1, frame.shape[0] // HEIGHT)
    height, width = (side // factor for side in frame.shape[:2])
    squares = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)


def main(arguments: list[str]) -> None:
    """Make the videos, and say what was written and what could not be."""
    parser = argparse.ArgumentParser(prog="septet rl videos", description=__doc__, allow_abbrev=False)
    parser.add_argument("published", type=Path, help="published/, or one scale's folder in it")
    parser.add_argument("--out", type=Path, required=True, help="folder for <paper>/<task>.gif, .jpg and .json")
    parser.add_argument("--methods", default="", help="the methods to show if a task has them, as a,b; or the best")
    parser.add_argument("--steps", type=int, default=250, help="environment steps at most (250)")
    parser.add_argument("--format", choices=["gif", "mp4"], default="gif", help="mp4 needs imageio-ffmpeg (gif)")
    given = parser.parse_args(arguments)
    if given.steps < 1:
        raise InputError("videos: --steps", expected="1 or more", found=given.steps)
    found = published_models(given.published)
    if not found:
        raise InputError(str(given.published), expected="published policies (make publish)", found="none")
    missing = choose_renderer()
    made = 0
    for (paper, task), paths in found.items():
        model, row = chosen(paths, [name for name in given.methods.split(",") if name])
        stem = given.out / paper / task
        try:
            if missing and look_of(model.card.environment) is None:
                raise missing
            film(model, row, stem, f".{given.format}", given.steps)
        except InputError as error:
            print(f"{paper}/{task}: no video: {error}", file=sys.stderr)
            continue
        made += 1
        size = stem.with_suffix(f".{given.format}").stat().st_size
        print(f"{stem}.{given.format}: {model.card.methods[row]}, {size / 1e6:.1f} MB")
    if not made:
        raise InputError(str(given.published), expected="a policy in an environment that can be rendered", found="none")
