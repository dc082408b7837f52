"""Gaze estimation: where on the screen a person looks."""

from backend.tasks.saying import Saying, along
from backend.tasks.task import HELD, EstimateRule, Need, Regression

SCREEN_CM = (6.4, 12.8)
"""Width and height of the phone's screen that normalised gaze refers to (EyeMU's iPhone 12 Pro)."""

GAZE = Regression(
    name="gaze-estimation",
    sided=True,
    modalities=frozenset({"gaze", "image", "depth", "imu"}),
    needs=tuple(Need(modality, HELD) for modality in ("gaze", "image", "depth")),
    points=("gaze",),
    axes=("x", "y"),
    unit="cm",
    rule=EstimateRule(every_s=0.5),
    scale=2.0,
    centre=(SCREEN_CM[0] / 2, SCREEN_CM[1] / 2),
    metric="error_cm",
    metric_scale=1.0,
    sayings=(
        Saying("x", "the person looks {} from the left edge of the screen", "cm", along("gaze", 0), digits=1),
        Saying("y", "{} from its top edge", "cm", along("gaze", 1), digits=1),
    ),
    question="Where on the screen does the person look?",
)
