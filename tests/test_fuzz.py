"""A short run of `python -m benchmarks.fuzz`; the long one sends 200 000 messages."""

import pytest

from benchmarks.fuzz import fuzz


@pytest.mark.filterwarnings("error")  # an overflow on the way would warn
@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_messages_crash_nothing_and_stop_nothing(seed: int):
    result = fuzz(6_000, seed)
    assert result["outcomes"]["bad"] > 2_000
    assert result["outcomes"].keys() >= {"accepted", "accepted, unusable", "status", "event"}
    assert result["outcomes"]["bad topic, status or event"] > 500
