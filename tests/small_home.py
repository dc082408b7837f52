"""Two minutes of a home, by formulas: two wrists, a microphone, a GPS and a thermal camera, and what happened."""

from datetime import UTC, datetime

from backend.dialogue.situation import Happening, Reading, Situation, named
from backend.tasks import TASKS
from edge.clock import SECOND

NOW = int(datetime(2025, 11, 30, 14, 5, tzinfo=UTC).timestamp()) * SECOND
COUNT = 120
"""Windows of each sensor, a second apart."""
BEGAN = NOW - COUNT * SECOND
WHOLE = (BEGAN, NOW)
ACTIVITY, SOUND = "activity-recognition", "event-detection"
SENSORS = named(
    [
        ("watch/imu", "imu", "left wrist"),
        ("band/imu", "imu", "right wrist"),
        ("cam/audio", "audio", "kitchen"),
        ("phone/gps", "gps", "pocket"),
        ("cam/thermal", "thermal", "kitchen"),
    ]
)
LEFT, RIGHT, MIC, GPS, THERMAL = SENSORS.values()
FACTS_OF = {
    "watch/imu": {
        "imu.rms": lambda k: 1.002 + k / 100,
        "imu.peak": lambda k: 3 + (k * 7 % 50) / 10,
        "imu.tilt": lambda k: float(k % 90),
        "imu.frequency": lambda k: 1.5,
    },
    "band/imu": {
        "imu.rms": lambda k: 2.002 - k / 100,
        "imu.peak": lambda k: 2 + (k * 3 % 40) / 10,
        "imu.tilt": lambda k: 45.0,
        "imu.frequency": lambda k: 2.5,
    },
    "cam/audio": {
        "audio.level": lambda k: -50 + (k * 11 % 40) / 2,
        "audio.centroid": lambda k: 1000.0 + k,
        "audio.onsets": lambda k: float(k % 3),
        "audio.pitch": lambda k: 200.0 + k,
    },
    "phone/gps": {
        "gps.speed": lambda k: k / 20,
        "gps.turned": float,
        "host.battery": lambda k: 80 - k / 10,
    },
    "cam/thermal": {
        "thermal.hottest": lambda k: 300 + k / 60,
        "thermal.coldest": lambda k: 290 - k / 60,
        "thermal.person": lambda k: 0.2,
    },
}
"""By stream and fact, what window k tells."""
HAPPENED = (
    (ACTIVITY, "SEATED", 120, 90),
    (ACTIVITY, "WALKING", 90, 50),
    (SOUND, "dog-bark", 80, 75),
    (SOUND, "rain", 60, 20),
    (ACTIVITY, "SEATED", 50, 30),
    (ACTIVITY, "WALKING", 30, 5),
    (SOUND, "dog-bark", 10, 4),
)
"""Tasks and labels, from and until so many seconds ago."""
LABELS = {
    ACTIVITY: ("SEATED", "WALKING", "STANDING_UP", "clap", "jog"),
    SOUND: ("none", "dog-bark", "rain", "baby-cry", "knocking", "clapping"),
}


def ago(seconds: float) -> int:
    """A time so long before now."""
    return NOW - round(seconds * SECOND)


def last(seconds: float) -> tuple[int, int]:
    """So many last seconds."""
    return ago(seconds), NOW


def home(**changed) -> Situation:
    """The situation, with some of its parts changed."""
    readings = [
        Reading(stream, SENSORS[stream], BEGAN + k * SECOND, {fact: of(k) for fact, of in facts.items()})
        for k in range(COUNT)
        for stream, facts in FACTS_OF.items()
    ]
    happenings = [
        Happening(task, label, ago(low), ago(high), (f"{label}-{low}",)) for task, label, low, high in HAPPENED
    ]
    parts = {
        "sensors": SENSORS,
        "readings": tuple(readings),
        "now": NOW,
        "happenings": tuple(happenings),
        "labels": {task: {label: TASKS[task].words[label] for label in labels} for task, labels in LABELS.items()},
        "decided": {ACTIVITY: "WALKING", SOUND: "dog-bark"},
        "attribution": {"watch/imu": 0.6, "band/imu": 0.2, "cam/audio": 0.1, "phone/gps": 0.1},
        "hop": SECOND,
    }
    return Situation(**(parts | changed))
