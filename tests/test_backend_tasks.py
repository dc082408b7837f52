import numpy as np
import torch

from backend.tasks import TASKS
from broker.modalities import MODALITIES
from edge.simulator import ACTIVITIES, EVENTS


def test_every_task_is_whole():
    for name, task in TASKS.items():
        assert task.name == name
        assert len(set(task.labels)) == len(task.labels)
        assert set(task.words) == set(task.labels)
        assert task.modalities <= set(MODALITIES)
        assert 0 < task.rule.off < task.rule.on < 1
        assert task.none_label is None or task.labels[task.none_index] == task.none_label


def test_the_simulator_speaks_the_same_labels():
    assert tuple(ACTIVITIES) == TASKS["activity-recognition"].labels
    assert set(EVENTS) == set(TASKS["event-detection"].labels) - {"none"}


def test_loss_of_a_certain_label_is_cross_entropy():
    task = TASKS["activity-recognition"]
    logits, true = torch.randn(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    loss = task.loss(logits, torch.eye(5)[true], torch.ones(5))
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, true, reduction="none"), atol=1e-6)


def test_loss_weights_favour_rare_labels_and_keep_the_mean():
    share = np.array([0.5, 0.3, 0.1, 0.06, 0.04])
    weight = TASKS["activity-recognition"].weights(share)
    assert (np.diff(weight) > 0).all()
    assert np.isclose((weight * share).sum(), 1.0)
