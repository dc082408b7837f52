"""The receiver's side of Go-Back-N: every frame once, whatever the wire, a crash or a full spool do."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from backend.moment import StreamWindow
from backend.serve.ingest import Gap, Ingest, Limits, Mark, Receiver, Sender, Verdict
from broker.errors import DataError
from broker.messages import LIMIT, Frame, encode_frame
from broker.modalities import MODALITIES
from broker.topics import FrameTopic
from edge.facts import facts
from edge.sources import raw
from edge.windows import Stream, Window
from tests.serving import HOP, T0, imu_frame, new_metrics

TOPIC = FrameTopic("s", "watch", "imu")
NOW = T0 + 10**12


def new_ingest(marks=None, usable=lambda window: None, **limits) -> Ingest:
    return Ingest(marks or {}, new_metrics(), usable, lambda: NOW, Limits(**limits))


def commit(ingest: Ingest, *accepted) -> dict:
    settled = ingest.settle(a.receipt for a in accepted)
    ingest.confirm(settled)
    return {sender.epoch: mark for sender, (_, mark) in settled.items()}


def test_the_order_of_verdicts():
    receiver = Receiver(Mark(0))
    assert receiver.offer(1, 1) == (Verdict.ACCEPTED, 0)
    assert receiver.offer(1, 1) == (Verdict.PENDING, 0)
    assert receiver.offer(3, 1) == (Verdict.EARLY, 0)
    receiver.confirm({1}, receiver.settle({1}))
    assert receiver.offer(1, 1) == (Verdict.COMMITTED, 0)
    assert receiver.offer(2, 2, room=False) == (Verdict.HELD, 0)
    assert receiver.offer(2, 2) == (Verdict.ACCEPTED, 0)


def test_a_commit_out_of_order_holds_the_watermark():
    receiver = Receiver(Mark(0))
    for seq in (1, 2, 3, 4):
        receiver.offer(seq, 1)
    mark = receiver.settle({2, 4})
    assert mark == Mark(0, frozenset({2, 4}))
    receiver.confirm({2, 4}, mark)
    assert receiver.settle({1}) == Mark(2, frozenset({4}))
    reborn = Receiver(mark)
    assert [reborn.offer(seq, 1)[0] for seq in (1, 2, 3, 4, 5)] == [
        Verdict.ACCEPTED, Verdict.PENDING, Verdict.ACCEPTED, Verdict.PENDING, Verdict.ACCEPTED
    ]  # fmt: skip
    assert reborn.settle({1, 3}) == Mark(4)


def test_what_the_device_no_longer_holds_is_lost_once_and_recorded_with_the_watermark():
    receiver = Receiver(Mark(10))
    assert receiver.offer(11, 11) == (Verdict.ACCEPTED, 0)
    assert receiver.offer(20, 18) == (Verdict.EARLY, 6)
    assert receiver.offer(18, 18) == (Verdict.ACCEPTED, 0)
    assert receiver.settle({18}) == Mark(10, frozenset({18}))
    assert receiver.settle({11}) == Mark(17, frozenset(), (Gap(12, 17),))
    assert receiver.settle({11, 18}) == Mark(18, frozenset(), (Gap(12, 17),))


def test_a_gap_does_not_count_what_was_committed_before_the_crash():
    receiver = Receiver(Mark(0, frozenset({3})))
    assert receiver.offer(6, 6) == (Verdict.ACCEPTED, 4)
    assert receiver.settle({6}).gaps == (Gap(1, 2), Gap(4, 5))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), window=st.integers(1, 20))
def test_any_wire_and_any_crashes_commit_every_frame_once(seed: int, window: int):
    """A sender with Go-Back-N, a wire that drops, doubles and swaps, a receiver that dies and returns from its mark."""
    chance, total = random.Random(seed), 60
    durable, receiver, committed = Mark(0), Receiver(Mark(0)), []
    pending: list[int] = []
    while durable.watermark < total:
        base = durable.watermark + 1
        batch = [seq for seq in range(base, min(base + window, total + 1)) for _ in range(chance.choice((0, 1, 1, 2)))]
        if chance.random() < 0.3:
            chance.shuffle(batch)
        pending += [seq for seq in batch if receiver.offer(seq, base)[0] is Verdict.ACCEPTED]
        chosen = {seq for seq in pending if chance.random() < 0.7}
        if chance.random() < 0.2:  # dies before the commit
            receiver, pending = Receiver(durable), []
            continue
        mark = receiver.settle(chosen)
        durable, pending = replace(mark, gaps=()), [seq for seq in pending if seq not in chosen]
        committed += sorted(chosen)
        if chance.random() < 0.2:  # dies after it
            receiver, pending = Receiver(durable), []
        else:
            receiver.confirm(chosen, mark)
    assert sorted(committed) == list(range(1, total + 1))


def test_a_frame_becomes_a_window():
    frame = imu_frame(1, 3)
    verdict, sender, accepted = new_ingest().take(TOPIC, encode_frame(frame))
    assert (verdict, sender) == (Verdict.ACCEPTED, Sender("s", "watch", "e1"))
    assert accepted.receipt == (sender, 1, "imu", frame.t0)
    assert np.array_equal(accepted.window.values, frame.data)
    assert accepted.window.key == "watch/imu"


def test_an_unknown_epoch_starts_at_its_base_and_nothing_counts_as_lost():
    ingest = new_ingest()
    verdict, _, accepted = ingest.take(TOPIC, encode_frame(imu_frame(500, 0, base=500)))
    assert verdict is Verdict.ACCEPTED
    assert commit(ingest, accepted) == {"e1": Mark(500)}
    assert b"iotlm_lost_frames_total 0.0" in generate_latest(ingest.metrics.registry)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rate": 900.0}, "rate"),
        ({"data": np.zeros((49, 6), np.float32)}, "shape"),
        ({"data": np.zeros((50, 5), np.float32)}, "shape"),
        ({"data": np.full((50, 6), 3e37, np.float32)}, "range"),
        ({"data": np.ones((50, 6), np.float32), "scale": 1e12}, "range"),
        ({"t0": NOW + 10**15}, "future"),
    ],
)
def test_an_unusable_frame_is_taken_so_that_its_device_can_go_on(change: dict, reason: str):
    ingest = new_ingest()
    verdict, _, accepted = ingest.take(TOPIC, encode_frame(replace(imu_frame(1, 0), **change)))
    assert verdict is Verdict.ACCEPTED
    assert accepted.window is None
    assert [letter.reason for letter in ingest.dead_letters] == [reason]
    assert ingest.take(TOPIC, encode_frame(imu_frame(2, 1)))[0] is Verdict.ACCEPTED


def test_the_model_has_a_say():
    def refuse(window):
        raise DataError("no encoder for that")

    ingest = new_ingest(usable=refuse)
    assert ingest.take(TOPIC, encode_frame(imu_frame(1, 0)))[2].window is None
    assert ingest.dead_letters[0].reason == "unusable"


@pytest.mark.parametrize("change", [{"epoch": "a\0b"}, {"epoch": ""}, {"seq": 2**63, "base": 2**63}])
def test_a_frame_without_a_usable_place_is_bad(change: dict):
    ingest = new_ingest()
    assert ingest.take(TOPIC, encode_frame(replace(imu_frame(1, 0), **change)))[0] is Verdict.BAD
    assert ingest.pending == 0


def test_memory_is_bounded():
    ingest = new_ingest(pending_per_device=3, devices=2, dead_letters=5)
    for seq in range(1, 10):
        ingest.take(TOPIC, encode_frame(imu_frame(seq, seq)))
    assert ingest.pending == ingest.pending_of("s", "watch") == 3
    ingest.take(TOPIC, encode_frame(imu_frame(1, 1, epoch="e2")))  # a spool that was replaced
    assert (ingest.pending_of("s", "watch"), ingest.pending_of("s", "nobody")) == (4, 0)
    for name in ("b", "c", "d"):
        ingest.take(FrameTopic("s", name, "imu"), encode_frame(imu_frame(1, 1)))
    assert len({sender.device for sender, _ in ingest.senders()}) == 2
    for _ in range(9):
        ingest.take(TOPIC, b"junk")
    assert len(ingest.dead_letters) == 5


def test_large_windows_are_held_only_up_to_a_number_of_bytes():
    picture = Frame("e1", 1, 1, "image", "room", "raw", T0, 2.0, np.zeros((512, 256, 3), np.uint8), scale=1 / 255)
    ingest, topic = new_ingest(pending_bytes=4_000_000), FrameTopic("s", "camera", "image")
    verdicts = [ingest.take(topic, encode_frame(replace(picture, seq=seq, t0=T0 + seq * HOP))) for seq in range(1, 9)]
    taken = [accepted for _, _, accepted in verdicts if accepted is not None]
    assert [verdict for verdict, *_ in verdicts[:4]] == [*[Verdict.ACCEPTED] * 3, Verdict.HELD]
    assert ingest.pending_bytes == sum(accepted.window.values.nbytes for accepted in taken) == 3 * 4 * 512 * 256 * 3
    ingest.confirm(ingest.settle(accepted.receipt for accepted in taken))
    assert ingest.pending_bytes == 0
    assert ingest.take(topic, encode_frame(replace(picture, seq=4)))[0] is Verdict.ACCEPTED


def test_old_epochs_are_forgotten_unless_they_wait_for_a_commit():
    ingest = new_ingest()
    _, _, waiting = ingest.take(TOPIC, encode_frame(imu_frame(1, 0, epoch="waits")))
    for i in range(6):
        _, _, accepted = ingest.take(TOPIC, encode_frame(imu_frame(1, 0, epoch=f"e{i}")))
        commit(ingest, accepted)
    assert [sender.epoch for sender in ingest.forgotten()] == ["e0", "e1", "e2"]
    assert commit(ingest, waiting) == {"waits": Mark(1)}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_committed_in_whatever_order_the_watermark_gets_there(data):
    """One device of five frames; commits out of order, restarts and resends: the end is always acknowledged."""
    last, receiver, durable, open_ = 5, Receiver(Mark(0)), Mark(0), set()
    for _ in range(data.draw(st.integers(0, 25))):
        step = data.draw(st.sampled_from(["offer", "commit", "crash"]))
        if step == "offer":
            seq = data.draw(st.integers(receiver.watermark + 1, last)) if receiver.watermark < last else last
            if receiver.offer(seq, min(receiver.watermark + 1, seq))[0] is Verdict.ACCEPTED:
                open_.add(seq)
        elif step == "commit" and open_:
            chosen = data.draw(st.sets(st.sampled_from(sorted(open_)), min_size=1))
            durable = receiver.settle(chosen)
            receiver.confirm(chosen, durable)
            open_ -= chosen
        elif step == "crash":
            receiver, open_ = Receiver(replace(durable, gaps=())), set()
    if open_:
        receiver.confirm(open_, receiver.settle(open_))
    while receiver.watermark < last:  # the device sends again from its base, the backend commits at once
        before = receiver.watermark
        for seq in range(before + 1, last + 1):
            if receiver.offer(seq, before + 1)[0] is Verdict.ACCEPTED:
                receiver.confirm({seq}, receiver.settle({seq}))
        assert receiver.watermark > before, f"stalled at {before}"


def test_a_number_committed_before_a_crash_does_not_stall_its_device():
    receiver = Receiver(Mark(10, frozenset({12})))
    assert receiver.offer(11, 11) == (Verdict.ACCEPTED, 0)
    receiver.confirm({11}, receiver.settle({11}))
    assert receiver.watermark == 12
    assert receiver.offer(12, 12) == (Verdict.COMMITTED, 0)
    evicted = Receiver(Mark(10, frozenset({12})))
    assert evicted.offer(12, 12) == (Verdict.COMMITTED, 1)
    assert evicted.watermark == 12


def test_a_person_hears_once_of_each_topic_and_reason_why_frames_lead_to_nothing(caplog: pytest.LogCaptureFixture):
    def refuse(window: StreamWindow) -> None:
        raise DataError("tokens of another encoder; export the encoder of this checkpoint")

    ingest = new_ingest(usable=refuse)
    for seq in (1, 2, 3):
        ingest.take(TOPIC, encode_frame(imu_frame(seq, seq)))
    ingest.take(FrameTopic("s", "watch", "hip"), b"?")
    first, second = (record.message for record in caplog.records)
    assert first.startswith("stream 's/watch/imu': ") and "export the encoder" in first and "/dead-letters" in first
    assert second.startswith("stream 's/watch/hip': ")


def window_shape(modality: str, rate: float = 0.0, size: tuple[int, int] = (0, 0), channels: int = 0) -> tuple:
    """Shape of a modality's windows on its own grid, or on another one."""
    return Stream(modality, modality, "here", rate, size=size, channels=channels).shape


def raw_frame(modality: str, shape: tuple[int, ...], rate: float = 0.0, **change) -> Frame:
    """A frame of raw samples, ones all of them, in the modality's own number type."""
    row = MODALITIES[modality]
    data = np.ones(shape, np.dtype(row.dtype))
    frame = Frame("e1", 1, 1, modality, "here", "raw", T0, rate or row.rate, data, scale=row.scale)
    return replace(frame, **change)


def taken(frame: Frame) -> tuple[StreamWindow | None, list[str]]:
    """What the backend makes of it, and what it says of it where that is nothing."""
    ingest = new_ingest()
    verdict, _, accepted = ingest.take(TOPIC, encode_frame(frame))
    assert verdict is Verdict.ACCEPTED
    return accepted.window, [letter.detail for letter in ingest.dead_letters]


FRAMES = [name for name, row in MODALITIES.items() if "height" in row.axes]


@pytest.mark.parametrize("modality", MODALITIES)
def test_windows_of_every_sense_are_taken_and_nothing_else_of_it(modality: str):
    row, shape = MODALITIES[modality], window_shape(modality)
    most = max(len(row.channels), row.most_channels)
    window, letters = taken(raw_frame(modality, shape))
    assert letters == []
    assert window.values.shape == shape and window.values.dtype == np.float32
    np.testing.assert_allclose(window.values, row.scale)
    wrong = [(*shape[:-1], shape[-1] - 1) if shape[-1] > 1 else (*shape, 2), (*shape[:-1], most + 1), shape[1:]]
    wrong += [(*shape, 1)] if len(shape) < 4 else []
    wrong += [(shape[0] + 1, *shape[1:])] if "time" in row.axes else []
    for other in wrong:
        if modality == "audio" and other == shape[1:]:
            continue
        window, (letter,) = taken(raw_frame(modality, other))
        assert window is None
        assert letter.startswith(f"shape: a window of {modality} ")
        assert letter.endswith(f"not {' x '.join(map(str, other if len(other) > 1 else (*other, 1)))}")
    for rate in (row.min_rate / 2, row.max_rate * 2):
        window, (letter,) = taken(raw_frame(modality, shape, rate))
        assert window is None and letter.startswith("rate: ") and letter.endswith(f" of {modality}")


@pytest.mark.parametrize("modality", FRAMES)
def test_sides_of_pictures_are_from_4_to_512(modality: str):
    least = window_shape(modality, size=(4, 4))
    assert taken(raw_frame(modality, least))[1] == []
    row = MODALITIES[modality]
    at = row.axes.index("height")
    for axis, side in ((at, 3), (at + 1, 3), (at, 513), (at + 1, 513)):
        shape = tuple(side if i == axis else n for i, n in enumerate(least))
        window, (letter,) = taken(raw_frame(modality, shape))
        assert window is None
        assert "4..512 (height) x 4..512 (width)" in letter


def test_a_picture_may_be_as_large_as_a_message():
    window, letters = taken(raw_frame("image", (512, 512, 3)))
    assert letters == [] and window.values.shape == (512, 512, 3)
    frame = replace(raw_frame("camera", (512, 512, 5)))
    assert new_ingest().take(TOPIC, encode_frame(frame))[0] is Verdict.BAD


@pytest.mark.parametrize(("modality", "channels"), [("imu", 9), ("gps", 6), ("gaze", 28), ("gaze", 3)])
def test_channels_that_a_sense_need_not_have_are_taken(modality: str, channels: int):
    window, letters = taken(raw_frame(modality, window_shape(modality, channels=channels)))
    assert letters == [] and window.values.shape[-1] == channels
    most = MODALITIES[modality].most_channels
    window, (letter,) = taken(raw_frame(modality, (*window.values.shape[:-1], most + 1)))
    assert window is None and f"..{most} (channels)" in letter


@pytest.mark.parametrize(("rate", "length"), [(8.0, 8), (1.0, 1), (12.5, 12), (30.0, 30)])
def test_a_clip_has_as_many_pictures_as_its_rate_says(rate: float, length: int):
    assert taken(raw_frame("video", (length, 8, 8, 3), rate))[1] == []
    window, (letter,) = taken(raw_frame("video", (length + 1, 8, 8, 3), rate))
    assert window is None and f"video at {rate:g} Hz is {length} (time) x " in letter


def test_dead_letters_say_what_would_have_been_right():
    letters = [taken(raw_frame(modality, shape))[1][0] for modality, shape in (
        ("imu", (50, 3)), ("image", (64, 600, 3)), ("video", (9, 32, 32, 3)), ("audio", (8000, 1)),
    )]  # fmt: skip
    assert letters == [
        "shape: a window of imu at 50 Hz is 50 (time) x 6..9 (channels), not 50 x 3",
        "shape: a window of image is 4..512 (height) x 4..512 (width) x 3 (channels), not 64 x 600 x 3",
        "shape: a window of video at 8 Hz is 8 (time) x 4..512 (height) x 4..512 (width) x 3 (channels), "
        "not 9 x 32 x 32 x 3",
        "shape: a window of audio at 16000 Hz is 16000 (time) x 1 (channels), not 8000 x 1",
    ]


def test_a_flight_is_no_broken_receiver():
    data = np.array([[1.2e6, -3e6, 1.1e4, 250.0]] * 5, np.float32)
    assert taken(raw_frame("gps", (5, 4), data=data))[1] == []


@pytest.mark.parametrize("modality", MODALITIES)
def test_raw_windows_cross_the_wire_as_exactly_as_their_number_type(modality: str):
    """From the device's own window to the backend's, in a payload below the limit; and again it changes nothing."""
    rng = np.random.default_rng(1)
    row, stream = MODALITIES[modality], Stream(modality, modality, "here")
    low, high = {"thermal": (250.0, 330.0), "depth": (0.0, 60.0), "lidar": (0.0, 80.0)}.get(
        modality, (0.0, 1.0) if row.dtype == "u1" else (-1.0, 1.0)
    )
    window = Window(stream, T0, stream.rate, rng.uniform(low, high, stream.shape).astype(np.float32), 0.75)
    data, scale = raw(window)
    frame = Frame("e1", 1, 1, modality, "here", "raw", T0, stream.rate, data, scale=scale, facts=facts(window))
    assert len(encode_frame(frame)) < LIMIT // 8
    arrived, letters = taken(frame)
    assert letters == []
    # A step of the integer, or of half precision; single precision is exact.
    step = {"i": scale, "u": scale, "f": np.abs(window.values) * 2.0**-10}[data.dtype.kind]
    bound = 0.0 if row.dtype == "f4" else step * 0.501 + np.abs(window.values) * 2.0**-22
    assert (np.abs(arrived.values - window.values) <= bound).all()
    again, _ = raw(replace(window, values=np.asarray(arrived.values)))
    np.testing.assert_array_equal(again, data)


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_no_sensor_reads_is_clipped_on_the_device_and_comes_back_finite(modality: str):
    stream = Stream(modality, modality, "here")
    for value in (-1e9, 1e9):
        data, _ = raw(Window(stream, T0, stream.rate, np.full(stream.shape, value, np.float32), 1.0))
        assert np.isfinite(data.astype(np.float64)).all()
