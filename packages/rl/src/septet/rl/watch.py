"""`python -m septet.rl watch MODEL`: a video of trained policies, several seeds next to each other.

Small tasks of our own are drawn, all others rendered by Gymnasium. MuJoCo renders off screen, through EGL (a graphics
card, or Mesa's software renderer) or OSMesa. Which of them works is found out in other processes, because a library
that fails to start one cannot start the other.
"""

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError
from septet.files import replacing
from septet.rl.model_arguments import arguments_of

if TYPE_CHECKING:
    from septet.rl.models import Environment
    from septet.rl.policies import Policy
    from septet.sampler.drawing import Look

Frame = NDArray[np.uint8]
VARIABLE, RENDERERS = "MUJOCO_GL", ("egl", "osmesa")
PROBE = "from mujoco.{} import GLContext; context = GLContext(64, 64); context.make_current(); context.free()"
INSTALL = "EGL or OSMesa (Debian: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6)"
SMOOTH = 3
"""A picture is drawn this much larger and then shrunk, so that edges are smooth."""
FASTEST = 25
"""Frames per second of a video, at most: frames between are left out."""


def choose_renderer() -> InputError | None:
    """Have MuJoCo use the first renderer that works here, or the one that MUJOCO_GL names; what is wrong if none does.

    Call it before MuJoCo is imported.
    """
    said = ""
    for name in [os.environ[VARIABLE]] if VARIABLE in os.environ else RENDERERS:
        command, environment = [sys.executable, "-c", PROBE.format(name)], {**os.environ, VARIABLE: name}
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
        if done.returncode == 0:
            os.environ[VARIABLE] = name
            return None
        said = f"{name}: {(done.stderr.strip().splitlines() or ['no context'])[-1]}"
    os.environ[VARIABLE] = "disabled"
    return InputError("watch: renderer", expected=INSTALL, found=said)


def look_of(environment: "Environment") -> "Look | None":
    """How an environment is drawn; none if Gymnasium renders it."""
    from septet import sampler

    environment.register()
    made = sampler.TASKS.get(environment.name)
    return made(environment.name, environment.options).look if made else None


def draw(look: "Look", observation: NDArray[np.float64], width: int, height: int) -> Frame:
    """The picture ``(height, width, 3)`` of a task at an observation ``(obs,)``."""
    from PIL import Image, ImageDraw

    left, bottom, right, top = look.view
    scale = SMOOTH * min(width / (right - left), height / (top - bottom))
    middle = SMOOTH * width / 2 - scale * (left + right) / 2, SMOOTH * height / 2 + scale * (bottom + top) / 2
    image = Image.new("RGB", (SMOOTH * width, SMOOTH * height), "white")
    pen = ImageDraw.Draw(image)

    def disc(x: float, y: float, diameter: float, colour: str) -> None:
        pen.ellipse((x - diameter / 2, y - diameter / 2, x + diameter / 2, y + diameter / 2), fill=colour)

    for shape in look.shapes(observation):
        places = [(middle[0] + scale * x, middle[1] - scale * y) for x, y in shape.points]
        thick = max(SMOOTH, scale * shape.width)
        if len(places) == 1:
            disc(*places[0], thick, shape.colour)
        else:
            pen.line(places, fill=shape.colour, width=round(thick), joint="curve")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.uint8)


def frames(
    policy: "Policy", environment: "Environment", *, steps: int, root: int, width: int = 320, height: int = 240
) -> Iterator[Frame]:
    """Pictures of one noise-free episode of each policy, next to each other, from the same start.

    Args:
        policy: of S seeds.
        environment: what they act in, one that is drawn or that Gymnasium can render.
        steps: at most; a seed whose episode has ended keeps its last picture.
        root: of the start.
        width, height: of a seed's picture, in pixels.

    Yields:
        Frames ``(height, S width, 3)``: the start, then one for each step.

    Raises:
        InputError: an environment that cannot be rendered.
    """
    with ExitStack() as held:
        look = look_of(environment)
        if look is None:
            envs: list[Any] = [_Rendered(environment, width, height, held) for _ in range(len(policy))]
        else:
            envs = [_Drawn(environment, look, width, height, held, root) for _ in range(len(policy))]
        seen = np.stack([env.reset(root) for env in envs])
        pictures = [env.picture() for env in envs]
        yield np.concatenate(pictures, axis=1)
        running = [True] * len(envs)
        for t in range(steps):
            action = policy.bounded(policy.act(seen[:, None], np.full((len(envs), 1), t)))[:, 0]
            for s, env in enumerate(envs):
                if running[s]:
                    seen[s], running[s] = env.step(action[s])
                    pictures[s] = env.picture()
            yield np.concatenate(pictures, axis=1)
            if not any(running):
                return


class _Drawn:
    """An environment of the sampler, drawn."""

    def __init__(
        self, environment: "Environment", look: "Look", width: int, height: int, held: ExitStack, root: int
    ) -> None:
        from septet import sampler

        made = sampler.make(environment.name, seeds=[0], environments=1, root=root, **environment.options)
        self._batch = held.enter_context(closing(made))
        self._draw = partial(draw, look, width=width, height=height)

    def reset(self, root: int) -> NDArray[np.float64]:
        self._seen = self._batch.reset()[0]
        return self._seen

    def step(self, action: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
        step = self._batch.step(action[None])
        self._seen = step.next_observation[0]
        return self._seen, not (step.terminated[0] or step.truncated[0])

    def picture(self) -> Frame:
        return self._draw(self._seen)


class _Rendered:
    """An environment of Gymnasium, with its own renderer."""

    def __init__(self, environment: "Environment", width: int, height: int, held: ExitStack) -> None:
        self._name, self._env = environment.name, _made(environment, width, height)
        held.callback(self._env.close)

    def reset(self, root: int) -> NDArray[np.float64]:
        return self._flat(self._env.reset(seed=root)[0])

    def step(self, action: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
        from septet.sampler.spaces import Actions

        given = Actions.of(str(self._env), self._env.action_space).fit(action[None])[0]
        found, _, terminated, truncated, _ = self._env.step(given)
        return self._flat(found), not (terminated or truncated)

    def picture(self) -> Frame:
        try:
            picture = self._env.render()
        except Exception as error:  # of a renderer or a package that is missing
            expected = f"what its renderer needs (of MuJoCo: {INSTALL})"
            raise InputError(self._name, expected=expected, found=str(error)) from None
        if not isinstance(picture, np.ndarray) or picture.ndim != 3:
            expected = "an environment that renders pictures"
            raise InputError(self._name, expected=expected, found=type(picture).__name__)
        return np.asarray(picture, np.uint8)

    def _flat(self, observation: Any) -> NDArray[np.float64]:
        from septet.sampler.spaces import Observations

        return Observations.of(str(self._env), self._env.observation_space).flat(observation)


def _made(environment: "Environment", width: int, height: int) -> Any:
    import gymnasium

    options = dict(environment.options)
    if "time_limit" in options:
        options["max_episode_steps"] = options.pop("time_limit")
    sizes: tuple[dict[str, Any], ...] = ({"width": width, "height": height}, {})
    for size in sizes:  # MuJoCo's environments take the size of a picture
        try:
            return gymnasium.make(environment.name, render_mode="rgb_array", **size, **options)
        except TypeError:
            continue
        except Exception as error:
            expected = "an environment that Gymnasium can make and render"
            raise InputError(environment.name, expected=expected, found=str(error)) from None
    raise InputError(environment.name, expected="an environment that Gymnasium can render", found="one that it cannot")


def rate_of(environment: "Environment") -> float:
    """Environment steps per second of simulated time, or 30 where the environment does not say."""
    look = look_of(environment)
    if look is not None:
        return look.rate
    import gymnasium

    with closing(gymnasium.make(environment.name)) as env:
        return float(getattr(env.unwrapped, "metadata", {}).get("render_fps") or 30)


def write_video(path: Path, pictures: Iterator[Frame], rate: float) -> int:
    """Write a GIF or, where imageio finds an encoder, an MP4, whole or not at all; the number of its frames.

    Args:
        pictures: one for each step; at more than 25 a second, only some are used.
        rate: steps per second.

    Raises:
        InputError: another suffix, or no encoder for it.
    """
    import imageio

    every = max(1, math.ceil(rate / FASTEST))
    chosen: list[Any] = [picture for k, picture in enumerate(pictures) if k % every == 0]
    with replacing(path) as temporary:
        try:
            if path.suffix == ".gif":
                milliseconds = 1000.0 * every / rate
                imageio.mimsave(temporary, chosen, format="GIF", duration=milliseconds, loop=0)
            else:
                imageio.mimsave(temporary, chosen, format="FFMPEG", fps=rate / every, output_params=["-f", "mp4"])
        except (ImportError, ValueError) as error:
            expected = "a name that ends in .gif, or .mp4 with the package imageio-ffmpeg installed"
            raise InputError(str(path), expected=expected, found=str(error).partition("\n")[0]) from None
    return len(chosen)


def main(arguments: list[str]) -> None:
    """Render, and say what was written."""
    parser = arguments_of("watch", "Video of a trained model, its seeds next to each other.")
    parser.add_argument("--out", type=Path, default=Path("watch.gif"), help="a .gif, or an .mp4 (watch.gif)")
    parser.add_argument("--steps", type=int, default=250, help="environment steps at most (250)")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240), metavar=("W", "H"), help="of a seed, pixels")
    given = parser.parse_args(arguments)
    if given.out.suffix not in (".gif", ".mp4"):
        raise InputError("watch: --out", expected="a name that ends in .gif or .mp4", found=str(given.out))
    for name, value in (("--steps", given.steps), ("--size", min(given.size))):
        if value < 1:
            raise InputError(f"watch: {name}", expected="1 or more", found=value)
    missing = choose_renderer()
    from septet.rl.models import load_model  # imports MuJoCo

    model = load_model(given.model)
    environment = model.card.environment
    if missing and look_of(environment) is None:
        raise missing
    policy = model.policy(model.kind(given.kind), given.seeds, given.method)
    width, height = given.size
    shown = frames(policy, environment, steps=given.steps, root=given.root, width=width, height=height)
    first = next(shown)  # an environment that cannot be rendered is refused before anything is written
    count = write_video(given.out, itertools.chain([first], shown), rate_of(environment))
    seeds = [model.card.seeds[row] for row in model.rows(given.seeds, given.method)]
    print(f"{given.out}: {count} frames, seeds {', '.join(map(str, seeds))} from left to right")
