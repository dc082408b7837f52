"""A simulated person in a simulated room: demonstration, load tests and training data, not a mock.

`Scene(seed)` renders motion and sound of one latent story; `Flaws` makes them as bad as a cheap sensor's.
"""

from edge.simulator.flaws import Flaws
from edge.simulator.scene import ACTIVITY, EVENT, PLACEMENTS, Scene, Span
from edge.simulator.sound import EVENTS
from edge.simulator.timeline import ACTIVITIES

__all__ = ["ACTIVITIES", "ACTIVITY", "EVENT", "EVENTS", "PLACEMENTS", "Flaws", "Scene", "Span"]
