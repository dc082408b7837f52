"""The simulated touch: hand, phone, eyes and screen agree, and no sensor tells everything."""

from itertools import pairwise

import numpy as np
import pytest

from broker.errors import ConfigError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.facts.capacitance import Touch as Contacts
from edge.facts.capacitance import strongest
from edge.simulator.body import GRAVITY
from edge.simulator.face import View, face_of, picture
from edge.simulator.hand import BONES, FINGERS, HAND_JOINTS, TIPS
from edge.simulator.session import GESTURES, NONE, ROUND_S, SCREEN_M, Round, sitter
from edge.simulator.story import round_of
from edge.simulator.touch import CELL_M, GAZE, GESTURE, RECONSTRUCTION, TOUCH, Touch
from edge.stream import Stream, Window

ROUND = round(ROUND_S * SECOND)
NUMBER = 55_000_000
T0 = NUMBER * ROUND
SCREEN_CM = np.array([6.4, 12.8])


def times(seconds: float, rate: int = 100, start: int = T0) -> np.ndarray:
    return start + np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate


def at(*seconds: float) -> np.ndarray:
    """Times within the round."""
    return T0 + np.array([round(s * SECOND) for s in seconds], np.int64)


def act(seed: int) -> Round:
    return round_of(seed, NUMBER)


def gestures(label: str, seeds: range = range(30)):
    return [(seed, g) for seed in seeds for g in act(seed).gestures if g.label == label]


@pytest.mark.parametrize("stream", Touch(0).streams())
def test_values_are_a_function_of_absolute_time_alone(stream):
    _, modality, placement = stream
    rate = 3 if MODALITIES[modality].size[0] else 60
    t = times(4.0, rate, T0 + ROUND - 3 * SECOND)  # over the end of a round
    whole = Touch(3).render(modality, placement, t)
    pieces = [Touch(3).render(modality, placement, part) for part in np.array_split(t, 5)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(Touch(4).render(modality, placement, t), whole)


@pytest.mark.parametrize("stream", Touch(0).streams())
def test_streams_have_the_shapes_of_their_modalities(stream):
    _, modality, placement = stream
    row, t = MODALITIES[modality], times(ROUND_S, 1)
    values = Touch(1).render(modality, placement, t)
    assert values.dtype == np.float32
    assert values.shape == (len(t), *(row.size if row.size[0] else ()), len(row.channels))
    assert np.isfinite(values).all()
    assert Touch(1).render(modality, placement, t[:0]).shape == (0, *values.shape[1:])
    if modality == "image":
        assert values.min() >= 0
        assert values.max() <= 1


@pytest.mark.parametrize("task", [TOUCH, GESTURE])
def test_labels_follow_one_another_without_holes(task):
    found = set()
    for seed in range(6):
        spans = list(Touch(seed).spans(task, T0 + 5, T0 + 4 * ROUND))
        assert spans[0].start == T0 + 5
        assert spans[-1].end == T0 + 4 * ROUND
        assert all(a.end == b.start for a, b in pairwise(spans))
        found |= {span.label for span in spans}
    hands = {f"{side}-{finger}" for side in ("left", "right") for finger in FINGERS}
    assert found == {NONE, *(hands if task == TOUCH else GESTURES)}


def test_most_labels_last_long_enough_for_a_window_to_be_theirs():
    for task, share in ((TOUCH, 0.15), (GESTURE, 0.12)):
        spans = [s for seed in range(10) for s in Touch(seed).spans(task, T0, T0 + 3 * ROUND)]
        lengths = np.array([s.end - s.start for s in spans if s.label != NONE]) / SECOND
        assert 0.6 < np.median(lengths) < 2.5
        assert share < lengths.sum() / (10 * 3 * ROUND_S) < 0.5


def test_bones_keep_their_length():
    t = times(ROUND_S, 20)
    sizes = []
    for seed in range(4):
        truth = Touch(seed).truth(RECONSTRUCTION, t)
        joints = truth.reshape(len(t), 41, 3)[:, : len(HAND_JOINTS)]
        seen = np.isfinite(joints).all((1, 2))
        assert 0.4 < seen.mean() < 1.0
        assert np.isnan(truth[:, 3 * len(HAND_JOINTS) :]).all()
        assert (np.isnan(joints).all((1, 2)) | seen).all()
        first, last = np.array(BONES).T
        bones = np.linalg.norm(joints[seen][:, first] - joints[seen][:, last], axis=-1)
        assert np.ptp(bones, axis=0).max() < 1e-5
        assert 0.01 < bones.min() < bones.max() < 0.13
        sizes.append(bones[0])
    assert np.std([s.sum() for s in sizes]) > 0.005


def test_the_hand_goes_through_neither_phone_nor_table():
    """The middles of bones keep clear of the phone's box and of the table all through a round."""
    size, along = np.array([0.072, 0.148, 0.008]), np.linspace(0, 1, 9)[:, None]
    first, last = np.array(BONES).T
    for seed in range(24):
        now, u = round_of(seed, NUMBER + seed % 3), np.arange(0.0, ROUND_S, 0.02)
        joints = now.hand(u)[2]
        bones = joints[:, first, None] + (joints[:, last] - joints[:, first])[:, :, None] * along
        outside = (np.abs(bones + np.array([0, 0, size[2] / 2])) - size / 2).max(-1)
        assert outside.min() > 0.002, (seed, u[outside.min((1, 2)).argmin()])
        place, turned = now.phone(u)
        height = (joints @ turned.swapaxes(-1, -2) + place[:, None])[..., 2] + size[2]
        assert height.min() > 0.002, (seed, u[height.min(1).argmin()])


def test_a_hand_that_holds_the_phone_is_around_its_side():
    """The palm lies below it, the thumb at its near edge, and fingers come up beyond the far one if they reach it."""
    reached = []
    for seed in range(40):
        now = act(seed)
        joints = now.hand(np.array([sum(now.lift) / 2]))[2][0] * (now.side, 1, 1)
        assert (joints[[5, 9, 13, 17], 2] < -0.008).all()
        assert (np.abs(joints[[5, 9, 13, 17], 0]) < 0.036).all()
        assert joints[TIPS[0], 2] > 0.02
        reached.append((joints[list(TIPS[1:]), 0] < -0.036) & (joints[list(TIPS[1:]), 2] > -0.008))
    assert np.mean(reached) > 0.6


def test_no_joint_moves_faster_than_people_reach():
    for seed in range(20):
        now, u = act(seed), np.arange(0.0, ROUND_S, 0.01)
        joints = now.hand(u)[2]
        place, turned = now.phone(u)
        placed = joints @ turned.swapaxes(-1, -2) + place[:, None]
        assert np.linalg.norm(np.diff(placed, axis=0), axis=-1).max() * 100 < 3.0


def test_a_round_goes_on_where_the_one_before_has_ended():
    """The hand is away when rounds change, and may come back as the other one; all else stays where it is."""
    same = 0
    for seed in range(12):
        before, after = (round_of(seed, NUMBER + k) for k in (0, 1))
        end, start = np.array([ROUND_S]), np.array([0.0])
        (_, view, *turns), (_, next_view, *next_turns) = (
            Touch(seed)._seen_face(now, u, (64, 64)) for now, u in ((before, end), (after, start))
        )
        assert view.middle == pytest.approx(next_view.middle, abs=1e-6)
        assert view.away == pytest.approx(next_view.away, abs=1e-6)
        assert np.array(turns) == pytest.approx(np.array(next_turns), abs=1e-6)
        assert before.gaze(end) == pytest.approx(after.gaze(start))
        assert before.phone(end)[0] == pytest.approx(after.phone(start)[0], abs=1e-6)
        hands = before.hand(end)[2], after.hand(start)[2]
        if before.side == after.side:
            same += 1
            assert hands[0] == pytest.approx(hands[1], abs=2e-3)
        assert np.isnan(Touch(seed).truth(RECONSTRUCTION, T0 + ROUND + np.array([-1, 0]))).all()  # out of view
    assert same > 2


def test_a_fingertip_lies_on_the_screen_exactly_while_it_touches():
    for seed in range(12):
        now, radii = act(seed), act(seed).who.hand.radii
        for contact in now.contacts:
            u = np.linspace(contact.start, contact.end - 1e-6, 9)
            joints = now.hand(u)[2]
            tip = joints[:, TIPS[contact.finger]]
            assert np.abs(tip[:, 2] - radii[contact.finger]).max() < 1e-9
            assert (np.abs(tip[:, :2]) < np.array(SCREEN_M) / 2).all()
            above = joints[:, 1:, 2].reshape(-1, 5, 4) - radii[:, None]
            others = np.delete(above, contact.finger, axis=1)
            assert others.min() > 0.003
            before = now.hand(np.array([contact.start - 0.15]))[2][0, TIPS[contact.finger], 2]
            assert before > radii[contact.finger] + 0.005


def test_a_blob_lies_under_the_fingertip():
    cells, away = [], []
    for seed in range(10):
        now = act(seed)
        for contact in now.contacts:
            if any(start < contact.end and contact.start < end for start, end, *_ in now.edges):
                continue
            middle = (contact.start + contact.end) / 2
            image = Touch(seed).render("capacitance", "panel", at(middle))[0, ..., 0]
            assert image.max() > 0.5
            tip = now.hand(np.array([middle]))[2][0, TIPS[contact.finger]]
            column, row = tip[0] / CELL_M + 15.5, 15.5 - tip[1] / CELL_M
            if not 10 < column < 21 or not 2 < row < 29:  # at an edge only a part of the blob is there
                continue
            rows, columns = np.nonzero(image > 0.3)
            weight = image[rows, columns]
            cells.append((np.average(columns, weights=weight) - column, np.average(rows, weights=weight) - row))
            away.append((image > 0.3).sum())
    assert len(cells) > 20
    assert np.abs(cells).max() < 1.0
    assert 4 < np.median(away) < 60


def test_the_screen_feels_nothing_where_nobody_touches():
    for seed in range(6):
        away = Touch(seed).render("capacitance", "panel", at(0.05, 0.1))
        assert np.abs(away).max() < 0.1
        assert away[:, :, [0, 7, 24, 31]].std() == pytest.approx(away[:, :, 8:24].std(), rel=0.3)
        now = act(seed)
        pressed = now.force(np.linspace(0, ROUND_S, 3200)).sum(1) > 0
        touched = sum(c.end - c.start for c in now.contacts) / ROUND_S
        assert pressed.mean() == pytest.approx(touched, abs=0.02)


def test_noise_is_no_contact_and_a_grip_is_at_most_a_faint_one():
    for seed in range(6):
        now = act(seed)
        pressed = [(c.start + c.end) / 2 for c in now.contacts]
        for u, firm in [*((u, True) for u in pressed), (0.1, False), (sum(now.lift) / 2, False)]:
            image = Touch(seed).render("capacitance", "panel", at(u))[0]
            found = Contacts(Window(Stream("s", "capacitance", "panel"), T0, 2.0, image, 1.0))
            assert found.contacts[1] >= 1 if firm else found.contacts[1] <= 1
            assert (strongest(found) > 0.4) == firm


def test_a_hand_on_its_way_around_the_phone_is_not_felt_through_it():
    for seed in range(12):
        up, down = act(seed).lift
        u = np.concatenate([up + np.arange(0.0, 1.6, 0.1), down + np.arange(-0.2, 0.8, 0.1)])
        assert Touch(seed).render("capacitance", "panel", at(*u)).max() < 0.25


def test_a_blob_leans_with_the_hand_that_makes_it():
    """Fingers of a right hand come from the lower right, those of a left one from the lower left."""
    lean: dict[float, list[float]] = {1.0: [], -1.0: []}
    for seed in range(24):
        now = act(seed)
        for contact in now.contacts:
            if contact.finger == 0:
                continue
            image = Touch(seed).render("capacitance", "panel", at((contact.start + contact.end) / 2))[0, ..., 0]
            row, column = np.unravel_index(image.argmax(), image.shape)
            if 10 < column < 21 and 4 < row < 27:
                part = np.clip(image[row - 3 : row + 4, column - 3 : column + 4], 0, None)
                y, x = np.mgrid[-3:4, -3:4]
                x, y = x - (part * x).sum() / part.sum(), y - (part * y).sum() / part.sum()
                lean[now.side].append(float((part * x * y).sum() / part.sum()))
    assert np.mean(np.array(lean[1.0]) > 0) > 0.6
    assert np.mean(np.array(lean[-1.0]) < 0) > 0.6


def test_gaze_tracker_and_truth_agree_but_for_noise():
    errors, biases = [], []
    for seed in range(12):
        t = times(ROUND_S, 60)
        gaze, truth = Touch(seed).render("gaze", "screen", t), Touch(seed).truth(GAZE, t)
        assert truth.shape == (len(t), 2)
        assert truth.min() > -0.5
        assert (truth.max(0) < SCREEN_CM + 0.5).all()
        error = gaze * SCREEN_CM - truth
        errors.append(np.median(np.linalg.norm(error, axis=1)))
        biases.append(error.mean(0))
        assert error.std(0).max() < 0.8
    assert 0.1 < np.median(errors) < 1.0
    assert np.linalg.norm(np.mean(biases, 0)) < 0.4


def test_eyes_are_there_before_the_finger():
    on_time, late = [], []
    for seed in range(10):
        now = act(seed)
        for contact in now.contacts:
            tip = now.hand(np.array([contact.start]))[2][0, TIPS[contact.finger], :2]
            target = np.array([50 * SCREEN_M[0] + 100 * tip[0], 50 * SCREEN_M[1] - 100 * tip[1]])
            looked = Touch(seed).truth(GAZE, at(contact.start - 0.25, contact.start - 1.0))
            on_time.append(np.linalg.norm(looked[0] - target))
            late.append(np.linalg.norm(looked[1] - target))
    assert np.median(on_time) < 0.7
    assert np.median(late) > 2.0


def test_a_phone_that_lies_feels_gravity_and_nothing_else():
    for seed in range(4):
        imu = Touch(seed).render("imu", "phone", at(*np.linspace(0.0, 0.5, 50)))
        assert imu[:, :3].mean(0) == pytest.approx([0, 0, GRAVITY], abs=0.05)
        assert np.abs(imu[:, 3:]).max() < 0.03


AXES = {
    "flick-forward": (3, -1),
    "flick-left": (5, 1),
    "flick-right": (5, -1),
    "turn-left": (4, -1),
    "turn-right": (4, 1),
}


@pytest.mark.parametrize("label", GESTURES)
def test_gestures_go_out_and_come_back(label):
    found = gestures(label)
    assert len(found) > 10
    right = []
    for seed, gesture in found:
        u = np.arange(gesture.start, gesture.end, 0.01)
        imu = Touch(seed).render("imu", "phone", at(*u)).astype(np.float64)
        out = u < gesture.start + gesture.parts[0]
        if label in AXES:
            axis, sign = AXES[label]
            angle = np.cumsum(imu[:, axis]) / 100
            assert sign * angle[out][-1] > 0.35
            assert abs(angle[-1]) < 0.25
            right.append(np.abs(imu[:, 3:]).max(0).argmax() == axis - 3)
        else:
            first = u < gesture.start + gesture.parts[0] / 2
            pushed = (imu[first, 2].mean() - imu[out & ~first, 2].mean()) * (1 if label == "pull-close" else -1)
            right.append(pushed > 1.0)
    assert np.mean(right) > 0.9


def test_turn_rate_turns_gravity():
    """The rate of change of the phone's axes is what its gyroscope says."""
    for seed, gesture in gestures("flick-forward")[:5]:
        u = np.arange(gesture.start - 0.1, gesture.end, 0.005)
        rate = Touch(seed).render("imu", "phone", at(*u))[:, 3:].astype(np.float64)
        up = act(seed).phone(u)[1][:, 2]  # the place's z in the phone's axes
        moved = np.cross(up[:-1], (rate[1:] + rate[:-1]) / 2) * 0.005
        assert np.abs(up[1:] - up[:-1] - moved).max() < 2e-3


def test_the_wrist_feels_what_the_hand_does():
    for seed in range(4):
        now = act(seed)
        imu = Touch(seed).render("imu", "wrist", times(ROUND_S)).astype(np.float64)
        assert np.linalg.norm(imu[:, :3].mean(0)) < 1.05 * GRAVITY
        still = np.linalg.norm(imu[:5, :3], axis=1)
        assert still == pytest.approx(GRAVITY, abs=1.0)
        held = np.arange(round(now.lift[0] * 100) + 80, round(now.lift[1] * 100))
        assert np.abs(imu[held, 3:]).mean() > 2 * np.abs(imu[:20, 3:]).mean()


def test_the_turn_rate_at_the_wrist_turns_gravity_too():
    for seed in range(4):
        u = np.arange(act(seed).lift[0] - 0.4, act(seed).lift[0] + 1.0, 0.005)
        rate = Touch(seed).render("imu", "wrist", at(*u))[:, 3:].astype(np.float64)
        hand = act(seed).phone(u)[1] @ act(seed).hand(u)[1]
        # The watch's x is the hand's y, to the fingers; its z is the hand's, out of the back.
        up = np.stack([hand[:, 2, 1], -hand[:, 2, 0], hand[:, 2, 2]], -1)
        moved = np.cross(up[:-1], (rate[1:] + rate[:-1]) / 2) * 0.005
        assert np.abs(np.diff(up, axis=0)).max() > 0.005
        assert np.abs(np.diff(up, axis=0) - moved).max() < 1e-3


def test_eyes_point_from_the_camera_to_where_they_look():
    for seed in range(4):
        touch, u = Touch(seed), np.linspace(1.0, 31.0, 61)
        _, view, eyes, _ = touch._seen_face(act(seed), u, (64, 64))
        looked = touch.truth(GAZE, at(*u)) / 100
        from_camera = looked - np.array([SCREEN_M[0] / 2, 0.0])  # it sits at the middle of the screen's top
        assert eyes * view.away[:, None] == pytest.approx(from_camera, abs=1e-6)


def test_depth_from_above_is_that_of_the_hand():
    """Where nothing hides a knuckle, what is seen lies about a finger's radius above it."""
    gaps = []
    for seed in range(8):
        touch, now = Touch(seed), act(seed)
        t = at(*[(c.start + c.end) / 2 for c in now.contacts])
        depth = touch.render("depth", "above", t)[..., 0]
        joints = touch.truth(RECONSTRUCTION, t).reshape(len(t), 41, 3)[:, [5, 9, 13]]
        focal = 98.0
        column = np.rint(focal * joints[..., 0] / joints[..., 2] + 31.5)
        row = np.rint(focal * joints[..., 1] / joints[..., 2] + 23.5)
        seen = np.isfinite(column) & (column >= 0) & (column < 64) & (row >= 0) & (row < 48)
        i = np.nonzero(seen)[0]
        there = depth[i, row[seen].astype(int), column[seen].astype(int)]
        gaps += list((joints[seen][:, 2] - there)[there > 0])
    assert len(gaps) > 40
    assert np.median(gaps) == pytest.approx(0.012, abs=0.005)


def test_a_face_comes_nearer_when_the_phone_is_pulled_close():
    for label, sign in (("pull-close", 1), ("push-away", -1)):
        moved = []
        for seed, gesture in gestures(label, range(16)):
            middle = gesture.start + gesture.parts[0] + 0.02
            depth = Touch(seed).render("depth", "face", at(gesture.start, middle))
            moved.append(depth[0].min() - depth[1].min())
        assert sign * np.median(moved) > 0.04


def test_pupils_move_with_the_gaze():
    face = face_of(np.random.default_rng(1), (0.9, 0.7, 0.6))
    n = 9
    view = View(np.full((n, 2), (31.5, 27.0)), np.full(n, 480.0), np.zeros(n), np.full(n, 0.35))
    still, open_eyes = np.zeros((n, 2)), np.zeros(n)
    for axis in (0, 1):
        eyes = np.zeros((n, 2))
        eyes[:, axis] = np.linspace(-0.2, 0.2, n)
        image = picture(face, view, eyes, still, open_eyes, (64, 64)).mean(-1)
        part = 0.9 - image[:, 23:32, 40:54]  # the right eye
        dark = np.clip(part - 0.4, 0, None)
        place = np.indices(dark.shape[1:])[1 - axis]
        middle = (dark * place).sum((1, 2)) / dark.sum((1, 2))
        assert (np.diff(middle) > 0).all()
        assert np.ptp(middle) > 1.0
    shut, opened = (picture(face, view, still, still, lids, (64, 64)).min(-1) for lids in (np.ones(n), open_eyes))
    assert (opened > 0.85).sum() > 5 * (shut > 0.85).sum()


def test_people_differ():
    people = [sitter(seed) for seed in range(20)]
    assert np.std([p.hand.lengths.sum() for p in people]) > 0.01
    assert np.std([p.bias for p in people]) > 0.01
    assert {act(seed).side for seed in range(20)} == {1.0, -1.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Touch(-1),
        lambda: Touch(0).render("imu", "pocket", times(1)),
        lambda: Touch(0).render("audio", "phone", times(1)),
        lambda: list(Touch(0).spans(GAZE, T0, T0 + 1)),
        lambda: Touch(0).truth(TOUCH, times(1)),
    ],
)
def test_what_cannot_be_simulated_is_an_error(make):
    with pytest.raises(ConfigError, match="simulator"):
        make()
