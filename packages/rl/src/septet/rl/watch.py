"""`python -m septet.rl watch MODEL`: a video of trained policies, several seeds next to each other.

MuJoCo renders off screen, through EGL (a graphics card, or Mesa's software renderer) or OSMesa. Which of them works is
found out in other processes, because a library that fails to start one cannot start the other.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
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

Frame = NDArray[np.uint8]
VARIABLE, RENDERERS = "MUJOCO_GL", ("egl", "osmesa")
PROBE = "from mujoco.{} import GLContext; context = GLContext(64, 64); context.make_current(); context.free()"
INSTALL = "EGL or OSMesa (Debian: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6)"
FASTEST = 25
"""Frames per second of a video, at most: frames between are left out."""


def choose_renderer() -> str:
    """Name the first renderer that works here, or check the one that MUJOCO_GL names.

    Call it before MuJoCo is imported.

    Raises:
        InputError: none works.
    """
    said = ""
    for name in [os.environ[VARIABLE]] if VARIABLE in os.environ else RENDERERS:
        environment = {**os.environ, VARIABLE: name}
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(name)],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode == 0:
            os.environ[VARIABLE] = name
            return name
        said = f"{name}: {(done.stderr.strip().splitlines() or ['no context'])[-1]}"
    raise InputError("watch: renderer", expected=INSTALL, found=said)


def frames(
    policy: "Policy", environment: "Environment", *, steps: int, root: int, width: int = 320, height: int = 240
) -> Iterator[Frame]:
    """Pictures of one noise-free episode of each policy, next to each other, from the same start.

    Args:
        policy: of S seeds.
        environment: what they act in, one that Gymnasium can render.
        steps: at most; a seed whose episode has ended keeps its last picture.
        root: of the start.
        width, height: of a seed's picture, in pixels.

    Yields:
        Frames ``(height, S width, 3)``: the start, then one for each step.

    Raises:
        InputError: an environment that cannot be rendered.
    """
    import gymnasium

    environment.register()
    with ExitStack() as held:
        envs = [_made(gymnasium, environment, width, height, held) for _ in range(len(policy))]
        seen = np.stack([_flat(env, env.reset(seed=root)[0]) for env in envs])
        pictures = [_picture(env, environment) for env in envs]
        yield np.concatenate(pictures, axis=1)
        running = [True] * len(envs)
        for t in range(steps):
            action = policy.bounded(policy.act(seen[:, None], np.full((len(envs), 1), t)))[:, 0]
            for s, env in enumerate(envs):
                if not running[s]:
                    continue
                found, _, terminated, truncated, _ = env.step(_given(env, action[s]))
                seen[s], running[s] = _flat(env, found), not (terminated or truncated)
                pictures[s] = _picture(env, environment)
            yield np.concatenate(pictures, axis=1)
            if not any(running):
                return


def _made(gymnasium: Any, environment: "Environment", width: int, height: int, held: ExitStack) -> Any:
    options = dict(environment.options)
    if "time_limit" in options:
        options["max_episode_steps"] = options.pop("time_limit")
    for size in ({"width": width, "height": height}, {}):  # MuJoCo's environments take the size of a picture
        try:
            env = gymnasium.make(environment.name, render_mode="rgb_array", **size, **options)
        except TypeError:
            continue
        except Exception as error:
            expected = "an environment that Gymnasium can make and render"
            raise InputError(environment.name, expected=expected, found=str(error)) from None
        held.callback(env.close)
        return env
    raise InputError(environment.name, expected="an environment that Gymnasium can render", found="one that it cannot")


def _picture(env: Any, environment: "Environment") -> Frame:
    try:
        picture = env.render()
    except Exception as error:  # of a renderer or a package that is missing
        raise InputError(
            environment.name, expected=f"what its renderer needs (of MuJoCo: {INSTALL})", found=str(error)
        ) from None
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise InputError(
            environment.name, expected="an environment that renders pictures", found=type(picture).__name__
        )
    return np.asarray(picture, np.uint8)


def _flat(env: Any, observation: Any) -> NDArray[np.float64]:
    from septet.sampler.spaces import Observations

    return Observations.of(str(env), env.observation_space).flat(observation)


def _given(env: Any, action: NDArray[np.float64]) -> Any:
    from septet.sampler.spaces import Actions

    return Actions.of(str(env), env.action_space).fit(action[None])[0]


def rate_of(name: str) -> float:
    """Environment steps per second of simulated time, or 30 where the environment does not say."""
    import gymnasium

    with ExitStack() as held:
        env = gymnasium.make(name)
        held.callback(env.close)
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
    choose_renderer()
    from septet.rl.models import load_model  # imports MuJoCo

    model = load_model(given.model)
    environment = model.card.environment
    policy = model.policy(model.kind(given.kind), given.seeds, given.method)
    width, height = given.size
    shown = frames(policy, environment, steps=given.steps, root=given.root, width=width, height=height)
    first = next(shown)  # an environment that cannot be rendered is refused before anything is written
    count = write_video(given.out, _again(first, shown), rate_of(environment.name))
    seeds = [model.card.seeds[row] for row in model.rows(given.seeds, given.method)]
    print(f"{given.out}: {count} frames, seeds {', '.join(map(str, seeds))} from left to right")


def _again(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest
