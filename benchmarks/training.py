"""How fast does training go? Windows per second of our loop beside those of transformers' `Trainer`.

    python -m benchmarks.training            # writes benchmarks/results/training.json

Both train the same model from the same weights on the same crops of a simulated home, drawn and assembled as they go,
with the same losses, optimiser and clipping, for the same steps; rounds alternate, and the first steps of each are not
counted. Ours averages the weights besides. What differs is the loop around it. Shares of a step are those of ours.

On a GPU there is also the utilisation of its arithmetic, with floating-point operations of one step (forward and
backward, counted by `torch.utils.flop_counter`, a multiplication and an addition being two):

    utilisation = operations of a step / (seconds of a step * peak operations per second)

with the GPU's dense bfloat16 peak, which `--peak` gives in TFLOP/s. Without a GPU it is null: not measured.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments

from backend.data.synthetic import TRAINING_SEEDS, scene_recording
from backend.device import has_bf16
from backend.model.encoders import ENCODERS
from backend.recipes import model_for
from backend.train.balance import by_task
from backend.train.batch import Batch, answer
from backend.train.config import TrainConfig
from backend.train.loop import learning_rate, part_batch, part_losses, train_step
from backend.train.losses import task_losses
from backend.train.source import Mixture, Source
from backend.train.state import State, new_state

RESULT = Path(__file__).parent / "results" / "training.json"
SEED = 1


class Losing(nn.Module):
    """The sensor model as `Trainer` wants it: what it returns is the loss."""

    def __init__(self, state: State, weights: dict[str, Tensor], config: TrainConfig, says: dict[str, float]) -> None:
        super().__init__()
        self.model, self.state, self.weights, self.config, self.says = state.model, state, weights, config, says

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The balanced loss of a batch."""
        batch = batch.to(self.state.device)
        fast = self.config.bf16 and has_bf16(self.state.device)
        with torch.autocast(self.state.device.type, torch.bfloat16, enabled=fast):
            answers = answer(self.model, batch)
        tasks = by_task(task_losses(self.model, answers, batch, self.weights, self.config))
        total = self.state.balance.total(tasks, self.says)
        self.state.balance.learn({name: float(loss.detach()) for name, loss in tasks.items()})
        return {"loss": total}


class Batches(Dataset[Batch]):
    """Batch i is that of our step i."""

    def __init__(self, mixture: Mixture, config: TrainConfig) -> None:
        self.mixture, self.config = mixture, config

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        return part_batch(self.mixture, self.config, step, 0)


class Clock(TrainerCallback):
    """Seconds from the end of the last step that is not counted to the end of the last."""

    def __init__(self, warm: int) -> None:
        self.warm, self.began, self.ended = warm, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time."""
        self.ended = time.perf_counter()
        if state.global_step == self.warm:
            self.began = self.ended


def ours(mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig, warm: int) -> float:
    """Seconds of the counted steps of our loop."""
    state, began = new_state(config), 0.0
    for step in range(config.steps):
        if step == warm:
            _settle(state)
            began = time.perf_counter()
        train_step(state, mixture, weights, config)
    _settle(state)
    return time.perf_counter() - began


def theirs(mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig, warm: int, folder: Path) -> float:
    """Seconds of the counted steps of `Trainer`."""
    state, clock = new_state(config), Clock(warm)
    model = Losing(state, weights, config, mixture.says)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        state.optimizer, lambda step: learning_rate(config, step) / config.learning_rate
    )
    settings = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=1,  # an element is a whole batch
        max_grad_norm=config.clip,
        use_cpu=state.device.type == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",  # batch i is that of our step i
        seed=config.seed,
    )
    trainer = Trainer(
        model,
        settings,
        data_collator=lambda batches: {"batch": batches[0]},
        train_dataset=Batches(mixture, config),
        optimizers=(state.optimizer, schedule),
        callbacks=[clock],
    )
    trainer.train()
    _settle(state)
    return clock.ended - clock.began


def _settle(state: State) -> None:
    if state.device.type == "cuda":
        torch.cuda.synchronize()


def shares(mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig, steps: int) -> dict[str, float]:
    """Of the time of our steps, the shares of drawing and assembling, of the model's two ways, and of the rest."""
    state = new_state(config)
    spent = dict.fromkeys(("draw and assemble", "forward and backward", "optimiser and averages"), 0.0)
    for _ in range(steps):
        began = time.perf_counter()
        part_batch(mixture, config, state.step, 0)
        drawn = time.perf_counter()
        state.model.train()
        losses = part_losses(state, mixture, weights, config, 0)  # draws again, which is taken off below
        state.balance.total(by_task(losses), mixture.says).backward()
        _settle(state)
        learned = time.perf_counter()
        train_step(state, mixture, weights, config)
        _settle(state)
        draw, both, whole = drawn - began, learned - drawn - (drawn - began), time.perf_counter() - learned
        for name, seconds in zip(spent, (draw, both, max(whole - draw - both, 0.0)), strict=True):
            spent[name] += seconds
    return {name: round(seconds / sum(spent.values()), 3) for name, seconds in spent.items()}


def operations(mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig) -> int:
    """Floating-point operations of one step, forward and backward."""
    state = new_state(config)
    with FlopCounterMode(display=False) as counter:
        losses = part_losses(state, mixture, weights, config, 0)
        state.balance.total(by_task(losses), mixture.says).backward()
    return counter.get_total_flops()


def main() -> None:
    """Measure, write JSON, show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--warm", type=int, default=4, help="steps of each round that are not counted")
    parser.add_argument("--peak", type=float, help="dense bfloat16 peak of the GPU, TFLOP/s")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = model_for("synthetic", focused=True)
    config = TrainConfig(
        "training", {"synthetic": 1.0}, model, steps=options.steps, crops=16, slots=6, phases=2, seed=SEED
    )
    senses = tuple(name for name in ENCODERS if name in model.modalities)
    people = [scene_recording(seed, seconds=20, senses=senses) for seed in TRAINING_SEEDS[:2]]
    mixture = Mixture({"synthetic": Source(people, config)}, config)
    device = new_state(config).device
    weights = {name: torch.ones(model.task(name).size, device=device) for name in model.tasks}
    batches = [part_batch(mixture, config, step, 0) for step in range(options.warm, config.steps)]
    windows = sum(len(of.where) for batch in batches for of in batch.windows.values())
    seconds: dict[str, list[float]] = {"ours": [], "trainer": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            runs = {
                "ours": lambda: ours(mixture, weights, config, options.warm),
                "trainer": lambda: theirs(mixture, weights, config, options.warm, Path(folder)),
            }
            for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
                seconds[name].append(runs[name]())
            print(f"round {turn + 1}: " + ", ".join(f"{n} {windows / s[-1]:.1f} windows/s" for n, s in seconds.items()))
    ratios = [their / our for our, their in zip(seconds["ours"], seconds["trainer"], strict=True)]
    flops, step_s = (
        operations(mixture, weights, config),
        statistics.median(seconds["ours"]) / (config.steps - options.warm),
    )
    utilised = flops / (step_s * options.peak * 1e12) if device.type == "cuda" and options.peak else None
    result = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread",
        "parameters": sum(p.numel() for p in new_state(config).model.parameters()),
        "crops": config.crops,
        "slots": config.slots,
        "steps": config.steps - options.warm,
        "rounds": options.rounds,
        "windows_per_step": round(windows / (config.steps - options.warm), 1),
        "windows_per_s": {name: round(windows / statistics.median(of), 1) for name, of in seconds.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        },
        "shares": shares(mixture, weights, config, config.steps - options.warm),
        "gflop_per_step": round(flops / 1e9, 1),
        "utilisation": utilised,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    ratio = result["ratio"]
    print("| | windows/s |\n|---|---:|")
    for name, rate in result["windows_per_s"].items():
        print(f"| {name} | {rate} |")
    print(f"| ours over the trainer's, by round | {ratio['median']} [{ratio['least']}, {ratio['most']}] |")
    print(json.dumps(result["shares"]))


if __name__ == "__main__":
    main()
