"""Simulated places and who is in them: demonstration, load tests and training data, not a mock.

A scene renders motion, sound and pictures of one latent story; `Flaws` makes them as bad as a cheap sensor's. Adding a
scene is a file and a row of SCENES.
"""

from collections.abc import Callable

from edge.simulator.drive import Drive
from edge.simulator.flaws import Flaws
from edge.simulator.scene import ACTIVITY, EVENT, PLACEMENTS, Scene
from edge.simulator.sound import EVENTS
from edge.simulator.stage import Audible, Source, Span, Stage
from edge.simulator.timeline import ACTIVITIES
from edge.simulator.touch import Touch

SCENES: dict[str, Callable[[int], Stage]] = {
    "home": Scene,
    "drive": Drive,
    "touch": Touch,
}
"""The scenes by name, each made from a seed."""

__all__ = [
    "ACTIVITIES",
    "ACTIVITY",
    "EVENT",
    "EVENTS",
    "PLACEMENTS",
    "SCENES",
    "Audible",
    "Flaws",
    "Scene",
    "Source",
    "Span",
    "Stage",
]
