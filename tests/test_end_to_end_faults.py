"""A short run of `make faults`: real processes, real kills, nothing lost, nothing twice; and the naive client loses."""

from pathlib import Path

import pytest

from benchmarks.faults import Plan, failures, run
from tests.conftest import need


@pytest.mark.timeout(240)
async def test_kills_lose_nothing_and_tell_nothing_twice(tmp_path: Path):
    need("mosquitto")
    plan = Plan(windows=1600, devices=3, backend_kills=1, broker_kills=1, device_kills=1, seed=4, timeout_s=150)
    assert max(share for share, _ in plan.schedule()) < 0.5  # or a quick run is over before the last kill
    result = await run(plan, tmp_path, print)
    assert failures(plan, result) == []
    assert result["ours"]["windows_committed"] >= 1600
    assert result["ours"]["events_stored"] > 10
    assert result["ours"]["groups_undisturbed"] == 1  # or windows late without a kill would be 0 whatever happens
    assert result["naive"]["windows_lost"] > 0


def test_the_verdict_sees_every_kind_of_failure():
    plan = Plan(backend_kills=1, broker_kills=0, device_kills=0)
    good = {
        "windows_lost": 0,
        "events_twice": 0,
        "events_other_than_offline": 0,
        "windows_late_without_a_kill": 0,
        "moments_fused": 5,
        "events_stored": 40,
        "groups_undisturbed": 1,
        "looks_that_saw_commits_out_of_order": 3,
        "device_exits": [0],
        "kills": {"backend": 1},
    }
    naive = {"windows_lost": 9}
    assert failures(plan, {"ours": good, "naive": naive}) == []
    for change in (
        {"windows_lost": 1}, {"events_twice": 1}, {"events_other_than_offline": 2}, {"device_exits": [1]},
        {"kills": {}},
        {"windows_late_without_a_kill": 1}, {"moments_fused": 0}, {"looks_that_saw_commits_out_of_order": 0},
        {"events_stored": 0}, {"groups_undisturbed": 0},
    ):  # fmt: skip
        assert len(failures(plan, {"ours": good | change, "naive": naive})) == 1
    assert failures(plan, {"ours": good, "naive": {"windows_lost": 0}})
