"""Activity recognition: what a person, or a car, does, from whatever watches it.

Every data set has labels of its own; together they are the task's, and a model has those that it has learned. They are
written out by set, because a recording is measured over its own set's labels.
"""

from backend.tasks.moments import MOMENTS
from backend.tasks.task import Classification, EventRule, both_ways

MOBILITY = {
    "SEATED": "sitting still",
    "STANDING_UP": "standing up from a seat",
    "WALKING": "walking",
    "TURNING": "turning around",
    "SITTING_DOWN": "sitting down",
}
"""Getting up and about: sp_sw_har, and the simulated home."""

ACTIONS = {
    "swipe-left": "swiping to the left",
    "swipe-right": "swiping to the right",
    "wave": "waving",
    "clap": "clapping hands",
    "throw": "throwing",
    "cross-arms": "crossing the arms",
    "basketball-shoot": "shooting a basketball",
    "draw-x": "drawing an X in the air",
    "draw-circle-clockwise": "drawing a circle clockwise",
    "draw-circle-counterclockwise": "drawing a circle counter-clockwise",
    "draw-triangle": "drawing a triangle",
    "bowling": "bowling",
    "boxing": "boxing",
    "baseball-swing": "swinging a baseball bat",
    "tennis-swing": "swinging a tennis racket",
    "arm-curl": "curling the arm",
    "tennis-serve": "serving at tennis",
    "push": "pushing with both hands",
    "knock": "knocking on a door",
    "catch": "catching",
    "pickup-and-throw": "picking something up and throwing it",
    "jog": "jogging on the spot",
    "walk": "walking on the spot",
    "sit-to-stand": "rising from a seat",
    "stand-to-sit": "taking a seat",
    "lunge": "lunging",
    "squat": "squatting",
}
"""The 27 actions of utd_mhad, in its order."""

DESKTOP = {
    "desktop-browse": "browsing the web",
    "desktop-play": "playing a game",
    "desktop-read": "reading",
    "desktop-search": "searching on the screen",
    "desktop-watch": "watching a video",
    "desktop-write": "writing",
}
"""What eyes do at a desk: gazegraph_desktop."""

POSTURES = {
    "lying-on-bed": "lying on the bed",
    "sitting-on-bed": "sitting on the bed",
    "lying-with-blanket": "lying under a blanket",
    "sitting-on-floor": "sitting on the floor",
    "standing": "standing",
    "lying-on-floor": "lying on the floor",
    "standing-winter-clothes": "standing in winter clothes",
    "nobody": "nobody is there",
}
"""Postures in a bedroom: thermal_d6t."""

DRIVING = {
    "driving-straight": "driving straight on",
    "driving-turn": "driving through a bend",
    "driving-stop": "standing with the car",
}
"""What a car does: the simulated drive."""

CHORES = {
    "brush-teeth": "brushing teeth",
    "eat-chips": "eating chips",
    "mop-floor": "mopping the floor",
    "sweep": "sweeping",
    "type-on-keyboard": "typing on a keyboard",
    "wash-hands": "washing hands",
    "watch-tv": "watching TV",
}
"""What people do at home: htad."""

PEOPLE = {
    "nobody": POSTURES["nobody"],
    "one-person": "one person is there",
    "two-people": "two people are there",
    "three-people": "three people are there",
}
"""How many are in a room: room_occupancy."""

_WORDS = {**MOBILITY, **ACTIONS, **DESKTOP, **POSTURES, **DRIVING, **MOMENTS, **CHORES, **PEOPLE}
"""Sets may share a label: it stands where it came first. New ones come last."""

ACTIVITY = Classification(
    name="activity-recognition",
    labels=tuple(_WORDS),
    modalities=frozenset(
        {"imu", "gps", "gaze", "pose", "image", "video", "depth", "thermal", "lidar", "camera", "features"}
    ),
    rule=EventRule(on=0.6, off=0.4, min_windows=1, cooldown_s=0.0),
    metric="balanced_accuracy",
    question="What is the person doing?",
    words=_WORDS,
    class_weights=0.5,
    mirrored=both_ways([("swipe-left", "swipe-right"), ("draw-circle-clockwise", "draw-circle-counterclockwise")]),
)
