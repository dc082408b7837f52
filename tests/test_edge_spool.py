"""The spool: numbers without holes, nothing lost by a kill, losses by eviction recorded, a full disk survived."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigError, MessageError, SpoolFull
from broker.messages import Frame, decode_frame
from edge.spool import Gap, Spool


def frame(t0: int = 0, size: int = 10) -> Frame:
    return Frame("", 1, 1, "imu", "wrist", "raw", t0, 50.0, np.zeros((size, 6), "<f4"))


def test_numbers_start_at_one_and_have_no_holes(tmp_path):
    spool = Spool(tmp_path / "a.db")
    assert [spool.append("imu", frame(t)) for t in range(5)] == [1, 2, 3, 4, 5]
    held = [decode_frame(f.payload) for f in spool.pending(0, 10)]
    assert [(f.seq, f.epoch, f.t0) for f in held] == [(i + 1, spool.epoch, i) for i in range(5)]
    assert [f.seq for f in spool.pending(2, 2)] == [3, 4]


def test_an_acknowledgement_deletes_what_it_covers_and_nothing_else(tmp_path):
    spool = Spool(tmp_path / "a.db")
    for t in range(5):
        spool.append("imu", frame(t))
    assert spool.ack("another epoch", 5) == 0
    assert spool.ack(spool.epoch, 3) == 3
    assert (spool.base, spool.next_seq, spool.waiting) == (4, 6, 2)
    assert spool.ack(spool.epoch, 5) == 2
    assert (spool.base, spool.next_seq, spool.size) == (6, 6, 0)
    assert spool.gaps() == []


def test_it_continues_where_it_ended(tmp_path):
    spool = Spool(tmp_path / "a.db")
    for t in range(5):
        spool.append("imu", frame(t))
    spool.ack(spool.epoch, 5)
    spool.close()
    again = Spool(tmp_path / "a.db")
    assert (again.epoch, again.next_seq, again.last_t0("imu"), again.last_t0("audio")) == (spool.epoch, 6, 4, None)
    assert Spool(tmp_path / "b.db").epoch != spool.epoch


def test_a_killed_process_loses_nothing_it_had_stored(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.test_edge_spool import frame, Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "for t in range(10**6): print(spool.append('imu', frame(t)), flush=True)"
    )
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", code, str(tmp_path / "a.db")]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    for _ in range(200):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    told = [int(line) for line in process.stdout.read().splitlines() if line.endswith("\n") or line.isdigit()]
    process.wait()
    process.stdout.close()
    held = [f.seq for f in Spool(tmp_path / "a.db").pending(0, 10**6)]
    assert held == list(range(1, len(held) + 1))
    assert len(held) >= max(told, default=200) - 1  # the last line may have been cut in the middle of a number


def test_a_full_spool_evicts_the_oldest_and_records_the_gap(tmp_path):
    spool = Spool(tmp_path / "a.db", max_bytes=50 * 500)
    for t in range(500):
        spool.append("imu", frame(t))
    assert spool.size <= 50 * 500
    assert spool.gaps() == [Gap(1, spool.base - 1)]
    assert [f.seq for f in spool.pending(0, 1000)] == list(range(spool.base, 501))
    spool.ack(spool.epoch, 500)
    for t in range(200):
        spool.append("imu", frame(t))
    assert [gap.first for gap in spool.gaps()] == [1, 501]


def test_a_full_disk_costs_the_oldest_frames_and_stops_nothing(tmp_path):
    spool = Spool(tmp_path / "a.db")
    spool._db.execute("PRAGMA max_page_count = 60")  # SQLite reports SQLITE_FULL, as a full disk makes it
    for t in range(2000):
        assert spool.append("imu", frame(t)) == t + 1
    assert 0 < spool.waiting < 2000
    assert spool.gaps() == [Gap(1, spool.base - 1)]
    assert not (tmp_path / "a.db.ballast").exists()
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.ack(spool.epoch, 2000)
    assert (tmp_path / "a.db.ballast").exists()


def test_a_disk_without_any_room_is_an_error_that_says_so(tmp_path):
    spool = Spool(tmp_path / "a.db")
    spool._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(SpoolFull, match="free some disk space"):
        for t in range(100):
            spool.append("imu", frame(t, size=1000))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small file system needs root")
def test_on_a_file_system_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine allows no mounts")
    try:
        spool = Spool(disk / "a.db")
        for t in range(6_000):
            spool.append("imu", frame(t, size=200))
        held = [f.seq for f in spool.pending(0, 10**6)]
        assert held == list(range(spool.base, 6_001))
        assert spool.gaps() == [Gap(1, spool.base - 1)]
        spool.ack(spool.epoch, 6_000)
        assert spool.append("imu", frame()) == 6_001
        spool.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_frames_go_out_with_the_base_of_the_moment(tmp_path):
    spool = Spool(tmp_path / "a.db")
    for t in range(5):
        spool.append("imu", frame(t))
    spool.ack(spool.epoch, 2)
    assert [(f.seq, decode_frame(f.payload).base) for f in spool.pending(0, 9)] == [(3, 3), (4, 3), (5, 3)]


def test_after_a_power_cut_no_number_is_given_twice_in_an_epoch(tmp_path, monkeypatch):
    """The file as the disk may have it: the last frames, of which the backend may know, are missing."""
    spool = Spool(tmp_path / "a.db")
    spool.append("imu", frame(1))
    image = tmp_path / "image"
    image.mkdir()
    for file in tmp_path.glob("a.db*"):
        shutil.copy(file, image)
    for t in range(2, 5):
        spool.append("imu", frame(t))
    boot = tmp_path / "boot_id"
    boot.write_text("another start of the machine")
    monkeypatch.setattr("edge.spool._BOOT_ID", boot)
    again = Spool(image / "a.db")
    assert again.epoch != spool.epoch
    assert [(f.seq, decode_frame(f.payload).epoch) for f in again.pending(0, 9)] == [(1, again.epoch)]
    again.close()
    assert Spool(image / "a.db").epoch == again.epoch  # closed properly: nothing can be missing


def test_a_copy_put_back_begins_a_new_epoch_when_it_is_told_of_frames_it_never_had(tmp_path):
    spool = Spool(tmp_path / "a.db")
    spool.append("imu", frame())
    epoch = spool.epoch
    assert spool.ack(epoch, 7) == 0
    assert spool.epoch != epoch
    assert [decode_frame(f.payload).epoch for f in spool.pending(0, 9)] == [spool.epoch]
    assert spool.ack(epoch, 1) == 0
    assert spool.ack(spool.epoch, 1) == 1


def test_what_no_receiver_would_take_is_not_stored(tmp_path):
    spool = Spool(tmp_path / "a.db")
    with pytest.raises(MessageError, match="finite"):
        spool.append("imu", replace(frame(), data=np.full((10, 6), np.nan, "<f4")))
    with pytest.raises(MessageError, match="size"):
        spool.append("imu", frame(size=50_000))
    assert spool.waiting == 0


def test_one_spool_serves_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.spool._LOCKED_S", 0.05)
    spool = Spool(tmp_path / "a.db")
    with pytest.raises(ConfigError, match=r"^home/watch already runs here \(its spool .*a\.db is in use\)"):
        Spool(tmp_path / "a.db", owner="home/watch")
    spool.close()


def test_what_is_no_spool_is_refused_by_name(tmp_path):
    (tmp_path / "a.db").write_text("something else entirely" * 100)
    with pytest.raises(ConfigError, match=r"spool\.path .*a\.db"):
        Spool(tmp_path / "a.db")


STEPS = st.lists(st.one_of(st.just("append"), st.integers(0, 40)), max_size=60)


@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_held_and_gone_add_up(tmp_path_factory, steps):
    spool = Spool(tmp_path_factory.mktemp("spool") / "a.db", max_bytes=20 * 500)
    acked = 0
    for step in steps:
        if step == "append":
            spool.append("imu", frame())
        else:
            spool.ack(spool.epoch, min(step, spool.next_seq - 1))
            acked = max(acked, min(step, spool.next_seq - 1))
    held = [f.seq for f in spool.pending(0, 1000)]
    evicted = [seq for gap in spool.gaps() for seq in range(gap.first, gap.last + 1)]
    assert held == list(range(spool.base, spool.next_seq))
    assert sorted(set(evicted) | set(range(1, acked + 1)) | set(held)) == list(range(1, spool.next_seq))
    assert spool.size == sum(len(f.payload) for f in spool.pending(0, 1000))
    spool.close()
