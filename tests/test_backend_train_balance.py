"""How many losses become one: running means, learned variances, a plain sum; and how often each set is drawn."""

import math

import pytest
import torch

from backend.train.balance import BALANCES, by_task
from backend.train.source import chances
from tests.small_runs import tiny


def losses(a: float, b: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(a, requires_grad=True), "b": torch.tensor(b, requires_grad=True)}


def test_running_means_let_no_task_drown_another():
    balance, both = BALANCES["ema"](("a", "b")), losses(100.0, 0.1)
    balance.total(both, {}).backward()
    assert float(both["a"].grad * 100) == pytest.approx(float(both["b"].grad * 0.1), rel=1e-4)
    assert balance.running == {}  # which moves once a step, however many parts it has
    balance.learn({"a": 100.0, "b": 0.1})
    balance.learn({"a": 50.0})
    assert balance.running == {"a": pytest.approx(99.0), "b": 0.1}
    both = losses(99.0, 0.1)
    balance.total(both, {"a": 3.0}).backward()
    assert float(both["a"].grad * 99) == pytest.approx(3 * float(both["b"].grad * 0.1), rel=1e-4)


def test_a_learned_variance_settles_where_a_task_is_as_sure_as_its_loss():
    """exp(-s) l + s / 2 is least at exp(s) = 2 l."""
    balance = BALANCES["uncertainty"](("a", "b"))
    optimizer = torch.optim.SGD(balance.parameters(), 0.5)
    for _ in range(400):
        optimizer.zero_grad()
        balance.total({"a": torch.tensor(2.0), "b": torch.tensor(0.25)}, {"a": 1.0, "b": 2.0}).backward()
        optimizer.step()
    assert balance.log_variance.tolist() == pytest.approx([math.log(4.0), math.log(0.5)], abs=1e-3)


def test_the_plain_sum_says_as_much_of_a_task_as_it_is_drawn_and_a_single_task_is_left_alone():
    assert float(BALANCES["fixed"](("a", "b")).total(losses(3.0, 0.5), {"a": 2.0}).detach()) == 6.5
    for kind in BALANCES.values():
        assert float(kind(("a",)).total({"a": torch.tensor(3.0)}, {"a": 2.0})) == 3.0
    grouped = by_task({"a": torch.tensor(1.0), "a/imu": torch.tensor(0.5), "b": torch.tensor(2.0)})
    assert {name: float(loss) for name, loss in grouped.items()} == {"a": 1.5, "b": 2.0}


@pytest.mark.parametrize(("sampling", "share"), [("root", 2 / 3), ("even", 1 / 2), ("size", 4 / 5)])
def test_how_often_a_set_is_drawn(scenes, sampling, share):
    config = tiny(sampling=sampling, datasets={"synthetic": 1.0, "synthetic_drive": 1.0})
    found = chances(config, {"synthetic": scenes * 4, "synthetic_drive": scenes})
    assert found["synthetic"] == pytest.approx(share)


@pytest.mark.parametrize("rule", BALANCES)
def test_what_a_task_says_is_what_its_loss_weighs(rule):
    """Whatever the rule divides by: twice the say is twice the gradient."""
    pulls = []
    for say in (1.0, 2.0):
        losses = {name: torch.tensor(value, requires_grad=True) for name, value in (("a", 2.0), ("text", 3.0))}
        BALANCES[rule](losses).total(losses, {"text": say}).backward()
        pulls.append(float(losses["text"].grad))
    assert pulls[1] == pytest.approx(2 * pulls[0])
