"""Tasks are whole: outputs, losses that fall as answers get better, metrics in their units, and rules."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.model.heads import BodyHead, MapHead, forward_kinematics, orthonormal
from backend.tasks import TASKS, Classification, Regression
from backend.tasks.activity import ACTIVITY, MOBILITY
from backend.tasks.depth import COLUMNS, DEPTH, ROWS
from backend.tasks.events import SOUNDS
from backend.tasks.gaze import GAZE
from backend.tasks.pose import POSE
from backend.tasks.reconstruction import BODY, HAND, RECONSTRUCTION
from broker.errors import ConfigError
from broker.modalities import READABLE
from edge.simulator import ACTIVITIES, EVENTS
from edge.simulator.skeleton import NEUTRAL, PARENTS

REGRESSIONS = [task for task in TASKS.values() if isinstance(task, Regression)]
CLASSIFICATIONS = [task for task in TASKS.values() if isinstance(task, Classification)]


def test_there_are_the_eight_tasks_of_the_paper():
    assert len(TASKS) == 8
    assert (len(CLASSIFICATIONS), len(REGRESSIONS)) == (4, 4)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_is_whole(task):
    assert TASKS[task.name] is task
    assert len(set(task.outputs)) == len(task.outputs)
    assert task.modalities <= set(READABLE)
    assert task.question.endswith("?")
    head = task.head(16)
    said, unknown = head(torch.randn(3, 16)), torch.full((3, task.size), task.unknown)
    assert said.shape == (3, task.size)
    assert not task.known(unknown).any()


@pytest.mark.parametrize("task", CLASSIFICATIONS, ids=lambda task: task.name)
def test_classifications_have_words_and_a_rule_with_hysteresis(task):
    assert set(task.words) == set(task.labels)
    assert 0 < task.rule.off < task.rule.on < 1
    assert task.none_label is None or task.labels[task.none_index] == task.none_label
    assert all(set(view) <= set(task.labels) for view in task.views.values())


@pytest.mark.parametrize("task", REGRESSIONS, ids=lambda task: task.name)
def test_regressions_know_what_is_unknown(task):
    said = task.head(8)(torch.randn(4, 8))
    true = task.values(said).detach().clone()
    assert torch.allclose(task.loss(said, true), torch.zeros(4), atol=2e-2)
    assert np.allclose(task.distances(true.numpy(), true.numpy()), 0.0, atol=1e-3)
    true[:, ::2] = task.unknown
    assert torch.isfinite(task.loss(said, true)).all()
    other = true + 0.3 * task.scale
    assert (task.loss(said, other) > task.loss(said, true)).all()
    nothing = torch.full_like(true, task.unknown)
    assert torch.equal(task.loss(said, nothing), torch.zeros(4))
    assert np.isnan(task.distances(true.numpy(), nothing.numpy())).all()


@pytest.mark.parametrize("task", REGRESSIONS, ids=lambda task: task.name)
def test_a_head_learns_a_target_by_its_loss(task):
    torch.manual_seed(0)
    head, x = task.head(8), torch.randn(4, 8)
    with torch.no_grad():
        true = task.values(task.head(8)(x) + 0.5)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    before = float(task.loss(head(x), true).mean().detach())
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(head(x), true).mean().backward()
        optimizer.step()
    assert float(task.loss(head(x), true).mean().detach()) < 0.5 * before


def test_distances_are_in_the_metrics_unit():
    assert GAZE.distances(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]])).tolist() == [5.0]
    moved = np.zeros((1, POSE.size))
    moved[0, :3] = [0.0, 0.24, 0.0]  # one of 24 joints by 24 cm
    assert POSE.distances(moved, np.zeros((1, POSE.size))) == pytest.approx([1.0])
    hand = np.full((1, RECONSTRUCTION.size), np.nan)
    hand[0, :3] = 0.0
    assert RECONSTRUCTION.distances(np.full((1, RECONSTRUCTION.size), 0.003**0.5 / 100), hand) == pytest.approx(
        [(3 * 0.003) ** 0.5 * 10]
    )
    flat = np.full((1, DEPTH.size), 2.0)
    assert DEPTH.distances(flat, flat + 0.005) == pytest.approx([5.0])


def test_a_task_over_some_of_its_outputs():
    mobility = ACTIVITY.only(MOBILITY)
    assert mobility.labels == tuple(MOBILITY) == ACTIVITIES
    assert ACTIVITY.columns(MOBILITY).tolist() == [ACTIVITY.labels.index(label) for label in MOBILITY]
    body = RECONSTRUCTION.only(BODY)
    assert (body.size, len(HAND), len(BODY)) == (60, 21, 20)
    assert RECONSTRUCTION.columns(BODY).tolist() == list(range(63, 123))
    with pytest.raises(ConfigError, match="no output 'FLYING'"):
        ACTIVITY.only(["FLYING"])


def test_the_simulator_speaks_the_same_labels():
    assert set(EVENTS) == set(SOUNDS)


def test_loss_of_a_certain_label_is_cross_entropy():
    task = ACTIVITY.only(MOBILITY)
    logits, true = torch.randn(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    loss = task.loss(logits, torch.eye(5)[true], torch.ones(5))
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, true, reduction="none"), atol=1e-6)


def test_loss_weights_favour_rare_labels_and_keep_the_mean():
    share = np.array([0.5, 0.3, 0.1, 0.06, 0.04])
    weight = ACTIVITY.weights(share)
    assert (np.diff(weight) > 0).all()
    assert np.isclose((weight * share).sum(), 1.0)
    assert np.allclose(ACTIVITY.weights(share, share), 1.0)  # drawn as wanted


def test_depth_is_always_before_the_camera_and_its_edges_count():
    said = torch.randn(5, DEPTH.size) * 3
    assert (DEPTH.values(said) > 0).all()
    assert DEPTH.values(torch.full((1, DEPTH.size), -99.0)).max() < 1e-3  # a finger on a panel is a millimetre away
    true = torch.full((1, DEPTH.size), 4.0)
    tilted = (torch.arange(ROWS * COLUMNS) % 2 * 0.2 - 0.1)[None]  # as far off everywhere, but rough
    even = torch.full((1, DEPTH.size), 0.1)
    assert DEPTH.loss(tilted, true) > 1.5 * DEPTH.loss(even, true)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_bodies_keep_the_lengths_of_their_bones(seed):
    torch.manual_seed(seed)
    bones = torch.from_numpy(NEUTRAL.astype(np.float32))
    turns = orthonormal(torch.randn(2, len(PARENTS), 6))
    assert torch.allclose(turns @ turns.transpose(-1, -2), torch.eye(3).expand_as(turns), atol=1e-4)
    joints = forward_kinematics(turns, bones.expand(2, -1, -1))
    children = [j for j, parent in enumerate(PARENTS) if parent >= 0]
    length = (joints[:, children] - joints[:, [PARENTS[j] for j in children]]).norm(dim=-1)
    assert torch.allclose(length, bones[children].norm(dim=-1).expand(2, -1), atol=1e-4)
    assert torch.equal(joints[:, 0], torch.zeros(2, 3))


def test_heads_start_near_what_they_stand_for():
    body = BodyHead(8, POSE.scale)(torch.zeros(1, 8)) * POSE.scale
    assert torch.allclose(body.reshape(24, 3)[15], torch.from_numpy(_rest("head")), atol=0.15)
    assert MapHead(8, (ROWS, COLUMNS))(torch.randn(2, 8)).shape == (2, ROWS * COLUMNS)


def _rest(joint: str) -> np.ndarray:
    at, j = np.zeros(3, np.float32), POSE.points.index(joint)
    while j > 0:
        at, j = at + 1.7 * NEUTRAL[j].astype(np.float32), PARENTS[j]
    return at


@pytest.mark.parametrize(
    ("task", "enough", "too_little"),
    [
        ("gesture-classification", [("imu", "phone")], [("imu", "wrist"), ("imu", "pocket")]),
        ("gaze-estimation", [("image", "face")], [("image", "room"), ("imu", "phone"), ("gaze", "head")]),
        (
            "pose-estimation",
            [("imu", "wrist"), ("imu", "ankle"), ("imu", "chest")],
            [("imu", "wrist"), ("imu", "ankle")],
        ),
        ("depth-estimation", [("camera", "car")], [("gps", "car"), ("imu", "car")]),
        ("3d-reconstruction", [("depth", "above")], [("imu", "wrist")]),
        ("activity-recognition", [("imu", "wrist")], [("audio", "room")]),
    ],
)
def test_a_task_is_asked_where_something_can_tell(task: str, enough, too_little):
    """Somebody who walks with a watch makes no gestures with a phone, and looks at no screen."""
    assert TASKS[task].asks(enough)
    assert TASKS[task].asks(enough + too_little)
    assert not TASKS[task].asks(too_little)
