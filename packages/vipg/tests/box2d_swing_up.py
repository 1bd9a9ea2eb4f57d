"""Returns of random actions on the double pendulum, by Box2D as rllab runs it and by our equations of motion.

``pip install Box2D==2.3.10; python packages/vipg/tests/box2d_swing_up.py`` prints the numbers of docs/papers/vipg.md,
section 3. Box2D is no dependency: it keeps the links together by impulses, in its own single precision.
"""

import math

import Box2D
import numpy as np

from septet.seeding import stream
from septet.vipg.swing_up import MASS, TORQUE, WIDTH, swing_up

EPISODES, STEPS, PARTS = 40, 500, 2
SPREADS = (1.0, 0.6, 0.1)
"""Standard deviations of the actions, as shares of their range."""


def box2d_return(start, actions):
    """The return of one episode; Box2D's step is half of the task's."""
    world = Box2D.b2World(gravity=(0, -10))
    bar = Box2D.b2FixtureDef(
        shape=Box2D.b2PolygonShape(box=(WIDTH / 2, 0.5, (0, -0.5), 0)), density=MASS / WIDTH, groupIndex=-1
    )
    place, joints, links = (0.0, 0.0), [], [world.CreateStaticBody()]
    for angle, speed in zip(start[:2], start[2:], strict=True):
        links.append(world.CreateDynamicBody(position=place, angle=angle, angularVelocity=speed, fixtures=bar))
        joints.append(world.CreateRevoluteJoint(bodyA=links[-2], bodyB=links[-1], anchor=place))
        links[-1].allowSleep = False
        place = links[-1].GetWorldPoint((0, -1))
    whole = 0.0
    for action in actions:
        for _ in range(PARTS):
            links[1].ApplyTorque(-action, wake=True)
            links[2].ApplyTorque(action, wake=True)
            world.Step(0.02 / PARTS, 20, 20)
            world.ClearForces()
        first, second = links[1].angle, links[2].angle
        whole -= math.hypot(math.sin(first) - math.sin(second), math.cos(first) + math.cos(second) + 2.0)
    return whole


def our_return(start, actions):
    """The same of `septet.vipg.swing_up`, as `step_links` solves it."""
    task = swing_up("DoublePendulumSwingUp", {})
    state, observation = np.array([start]), np.zeros((1, 6))
    elapsed, flags, reward = np.zeros(1, np.int64), [np.zeros(1, bool) for _ in range(2)], np.zeros(1)
    handles, whole = np.zeros(1, np.int64), 0.0
    for action in actions:
        task.step(handles, task.constants, state, elapsed, np.array([[action]]), observation, reward, *flags, 0, 1)
        whole += float(reward[0])
    return whole


def main():
    """Print mean returns with their standard errors."""
    for spread in SPREADS:
        rng = stream(0, "box2d", spread)
        found = {"Box2D": [], "ours": []}
        for _ in range(EPISODES):
            start = rng.standard_normal(4) * (0.1, 0.1, 0.01, 0.01)
            actions = np.clip(spread * TORQUE * rng.standard_normal(STEPS), -TORQUE, TORQUE)
            found["Box2D"].append(box2d_return(start, actions))
            found["ours"].append(our_return(start, actions))
        means = [
            f"{name} {np.mean(values):.0f} ± {np.std(values) / EPISODES**0.5:.0f}" for name, values in found.items()
        ]
        print(f"standard deviation {spread}: {', '.join(means)}")


if __name__ == "__main__":
    main()
