"""The training loop of all networks; any kill may stop it: it goes on from the last checkpoint as if nothing had been.

`optimise` is the loop: what a loss is and what happens between steps is its caller's. `fit` is what images and text
train with: shuffled data, a warm-up, a moving average of the weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hierlib._finite import all_finite
from hierlib._provenance import plain, same_inputs
from hierlib._seeds import LARGEST, checked, spread
from hierlib._storage import on_cpu, read_tensors, write_tensors

Report = Callable[[int, str], None]  #: takes how much is done, and a note on how it goes


@dataclass
class State:
    """What a training carries from step to step besides weights and optimiser; a checkpoint holds all of it.

    Attributes:
        facts: anything json, such as a history.
        tensors: by name, such as the best weights so far.
        rng: that the loss draws from, if it draws from one that goes on from step to step.
        note: shown with the loss.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    rng: torch.Generator | None = None
    note: str = ""


def optimise(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    state: State,
    rate: Callable[[int], float] | None = None,
    clip: float | None = None,
    after: Callable[[int, Tensor], bool] | None = None,
    checkpoint: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> bool:
    """Minimise a loss step by step.

    All that is random in a step has to come from the number of the step or from `state.rng`, and what is carried from
    step to step has to be in `state`: then a resumed training is the same training, bit for bit on the same machine.

    Args:
        network: is trained in place, on its device.
        optimizer: of its parameters.
        loss: from the number of a step, 0 … steps - 1, to a scalar.
        steps: at most.
        state: see `State`; is changed in place.
        rate: learning rate of a step, by its number; None: that of the optimiser.
        clip: the gradient's norm is cut to this.
        after: called with the number of steps done and the last loss; True ends the training.
        checkpoint: file from which a killed training goes on; written every `every` seconds and at the end. None: none.
        identity: what is trained on what, json; a checkpoint of another identity is refused.
        minutes: the call ends after these, with a checkpoint.
        report: called with the number of steps done and a note, after every step (every 20 steps on a GPU).

    Returns:
        Whether the training has ended; False if the minutes ran out.

    Raises:
        ValueError: the checkpoint belongs to another training; the loss is not finite.
    """
    device = next(network.parameters()).device
    identity = plain({**(identity or {}), "device": device.type})
    step, mean, ended = 0, None, False
    if checkpoint is not None and checkpoint.exists():
        step, ended, running = _resume(checkpoint, identity, network, optimizer, state)
        mean = torch.tensor(running, device=device)
    patience = 1 if device.type == "cpu" else 20  # a GPU must not wait for the loss to be looked at
    start = written = time.monotonic()
    network.train()
    while step < steps and not ended:
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
        value = loss(step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        step, value = step + 1, value.detach()
        ended = (after is not None and after(step, value)) or step == steps
        mean = value if mean is None else mean.lerp(value, 0.02)
        now = time.monotonic()
        stop = ended or now - start >= 60 * minutes
        save = stop or now - written >= every
        if save or step % patience == 0:
            running = float(mean)
            if not math.isfinite(running):
                raise ValueError(f"step {step}: expected a finite loss, got {running}; lower the learning rate")
            if report is not None:
                report(step, f"loss {running:.4f}{state.note and f'  {state.note}'}")
        if save and checkpoint is not None:
            about = dict(identity=identity, step=step, ended=ended, running=running, facts=state.facts)
            write_tensors(checkpoint, _tensors(network, optimizer, state), about)
            written = now
        if stop:
            break
    network.eval()
    all_finite(
        {f"step {step}, weight {name}": w for name, w in network.state_dict().items()}, "lower the learning rate"
    )
    return ended or step == steps


def _tensors(network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> dict[str, Tensor]:
    tensors = {f"net.{k}": w for k, w in network.state_dict().items()}
    tensors |= {f"state.{k}": w for k, w in state.tensors.items()}
    moments = optimizer.state_dict()["state"]
    tensors |= {f"moment.{i}.{name}": w for i, each in moments.items() for name, w in each.items()}
    if state.rng is not None:
        tensors["rng."] = state.rng.get_state()
    return on_cpu(tensors)


def _resume(
    path: Path, identity: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer, state: State
) -> tuple[int, bool, float]:
    tensors, about = read_tensors(path)
    same_inputs(path, about.get("identity"), identity)
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "state": {}, "moment": {}, "rng": {}}
    for key, w in tensors.items():
        part, name = key.split(".", 1)
        parts[part][name] = w
    network.load_state_dict(parts["net"])
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    for name, w in parts["state"].items():
        if name in state.tensors:
            state.tensors[name].copy_(w)
        else:
            state.tensors[name] = w.to(weights[0].device)
    state.facts.update(about["facts"])
    if state.rng is not None:
        state.rng.set_state(parts["rng"][""])
    moments: dict[int, dict[str, Tensor]] = {}
    for key, w in parts["moment"].items():
        i, name = key.split(".", 1)
        like = weights[int(i)]
        # the fused step walks through memory: the moments must lie there in the order of the weights
        moments.setdefault(int(i), {})[name] = torch.empty_like(like).copy_(w) if w.shape == like.shape else w
    optimizer.load_state_dict(dict(state=moments, param_groups=optimizer.state_dict()["param_groups"]))
    return about["step"], about["ended"], about["running"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; with the data and the device it determines the weights.

    Attributes:
        examples: images shown in all.
        batch: images a step.
        learning_rate: of AdamW, reached after `warmup` steps, held, and taken down to 0 over the last `decay`.
        warmup: steps. decay: fraction of the training.
        weight_decay: of AdamW.
        ema: the weights that are kept are a moving average over about 1 / (1 - ema) steps; 0: the last ones.
        seed: of the first weights, the order of the data and all noise.
    """

    examples: int
    batch: int = 128
    learning_rate: float = 1e-3
    warmup: int = 150
    decay: float = 0.5
    weight_decay: float = 0.01
    ema: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.seed)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return max(1, self.examples // self.batch)

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, constant, cosine to zero."""
        left = (self.steps - step) / (self.decay * self.steps)
        return self.learning_rate * min(1, (step + 1) / self.warmup) * (math.sin(math.pi / 2 * min(1, left)) ** 2)


def fit(
    network: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    num_data: int,
    schedule: Schedule,
    *,
    checkpoint: Path,
    identity: Mapping[str, Any],
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> dict[str, Tensor] | None:
    """Minimise a loss over shuffled data.

    Each step draws from generators that are seeded by the number of the step.

    Args:
        network: is trained in place, on its device.
        loss: from the indices of a batch and a generator on the device to a scalar.
        num_data: size of the training set.
        schedule: see `Schedule`.
        checkpoint, minutes, every: as for `optimise`.
        identity: what is trained on what, json; a checkpoint of another identity or schedule is refused.
        report: called with the number of examples shown and a note, as by `optimise`.

    Returns:
        The weights that are kept, or None if the minutes ran out before the schedule ended.

    Raises:
        ValueError: the batch is larger than the data; or as `optimise`.
    """
    if not 1 <= schedule.batch <= num_data:
        raise ValueError(f"batch: expected 1 to {num_data}, the size of the data, got {schedule.batch}")
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    per_epoch = num_data // schedule.batch
    order, epoch = torch.empty(0, dtype=torch.int64, device="cpu"), -1

    def of_step(step: int) -> Tensor:
        nonlocal order, epoch
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = torch.randperm(num_data, generator=_generator("cpu", schedule.seed, epoch, 1), device="cpu")
        i = step % per_epoch * schedule.batch
        return loss(order[i : i + schedule.batch], _generator(device, schedule.seed, step, 2))

    kept = {k: w.detach().clone() for k, w in network.state_dict().items()} if schedule.ema else {}

    def average(step: int, _: Tensor) -> bool:
        if kept:
            _average(kept, network.state_dict(), min(schedule.ema, (1 + step) / (10 + step)))
        return False

    ended = optimise(
        network,
        optimizer,
        of_step,
        steps=schedule.steps,
        state=State(tensors=kept),
        rate=schedule.rate,
        clip=1.0,
        after=average,
        checkpoint=checkpoint,
        identity={**identity, "schedule": asdict(schedule)},
        minutes=minutes,
        every=every,
        report=None if report is None else lambda step, note: report(step * schedule.batch, note),
    )
    return (kept or network.state_dict()) if ended else None


def _average(kept: dict[str, Tensor], now: dict[str, Tensor], decay: float) -> None:
    floats = [k for k in kept if kept[k].is_floating_point()]
    torch._foreach_lerp_([kept[k] for k in floats], [now[k] for k in floats], 1 - decay)
    for k in kept.keys() - set(floats):
        kept[k].copy_(now[k])


def _generator(device: torch.device | str, seed: int, number: int, stream: int) -> torch.Generator:
    """Of one step or pass: another one for each seed and number.

    Seed 0 counts from 0 in every stream, as it did when the weights that come with the book were trained.
    """
    return torch.Generator(device).manual_seed((spread(seed, stream) + number) % (LARGEST + 1))
