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
from broker.messages import encode_frame
from broker.topics import FrameTopic
from tests.serving import T0, imu_frame, new_metrics

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
    assert ingest.pending == 3
    for name in ("b", "c", "d"):
        ingest.take(FrameTopic("s", name, "imu"), encode_frame(imu_frame(1, 1)))
    assert len({sender.device for sender, _ in ingest.senders()}) == 2
    for _ in range(9):
        ingest.take(TOPIC, b"junk")
    assert len(ingest.dead_letters) == 5


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
