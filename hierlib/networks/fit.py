"""A training loop that any kill may stop: it goes on from the last checkpoint as if nothing had happened."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib.networks.classifier import _read, _write


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

    @property
    def steps(self) -> int:
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
    identity: dict,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor] | None:
    """Minimise a loss over shuffled data.

    Each step draws from generators that are seeded by the number of the step, so that a resumed training is the
    same training, bit for bit on the same machine.

    Args:
        network: is trained in place, on its device.
        loss: from the indices of a batch and a generator on the device to a scalar.
        num_data: size of the training set.
        schedule: see `Schedule`.
        checkpoint: file from which a killed training goes on; written every `every` seconds and at the end.
        identity: what is trained on what, json; a checkpoint of another identity is refused.
        minutes: the call ends after these, with a checkpoint.
        report: called with the number of images shown and the running mean of the loss, after every step (every
            20 steps on a GPU).

    Returns:
        The weights that are kept, or None if the minutes ran out before the schedule ended.

    Raises:
        ValueError: the batch is larger than the data; the checkpoint belongs to another training; the loss is not
            finite.
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
    identity = json.loads(json.dumps({**identity, "schedule": asdict(schedule)}))
    kept = {k: w.detach().clone() for k, w in network.state_dict().items()} if schedule.ema else {}
    step, mean = 0, None
    if checkpoint.exists():
        step, running = _resume(checkpoint, identity, network, optimizer, kept)
        mean = torch.tensor(running, device=device)
    patience = 1 if device.type == "cpu" else 20  # a GPU must not wait for the loss to be looked at
    start = written = time.monotonic()
    network.train()
    order, epoch = None, -1
    per_epoch = num_data // schedule.batch
    while step < schedule.steps:
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = torch.randperm(num_data, generator=_generator("cpu", schedule.seed, epoch, 1), device="cpu")
        i = step % per_epoch * schedule.batch
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        value = loss(order[i : i + schedule.batch], _generator(device, schedule.seed, step, 2))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        if kept:
            _average(kept, network.state_dict(), min(schedule.ema, (1 + step) / (10 + step)))
        mean = value.detach() if mean is None else mean.lerp(value.detach(), 0.02)
        now = time.monotonic()
        stop = now - start >= 60 * minutes or step == schedule.steps
        save = stop or now - written >= every
        if save or step % patience == 0:
            running = float(mean)
            if not math.isfinite(running):
                raise ValueError(f"step {step}: expected a finite loss, got {running}; lower the learning rate")
            if report is not None:
                report(step * schedule.batch, running)
        if save:
            _checkpoint(checkpoint, identity, network, optimizer, kept, step, running)
            written = now
        if stop:
            break
    if step < schedule.steps:
        return None
    network.eval()
    return kept or network.state_dict()


def _average(kept: dict[str, Tensor], now: dict[str, Tensor], decay: float) -> None:
    floats = [k for k in kept if kept[k].is_floating_point()]
    torch._foreach_lerp_([kept[k] for k in floats], [now[k] for k in floats], 1 - decay)
    for k in kept.keys() - set(floats):
        kept[k].copy_(now[k])


def _generator(device, seed: int, number: int, stream: int) -> torch.Generator:
    return torch.Generator(device).manual_seed((seed * 4 + stream) << 40 | number)


def _checkpoint(path, identity, network, optimizer, kept, step, running) -> None:
    tensors = {f"net.{k}": w for k, w in network.state_dict().items()} | {f"kept.{k}": w for k, w in kept.items()}
    states = optimizer.state_dict()["state"]
    tensors |= {f"adam.{i}.{name}": w for i, state in states.items() for name, w in state.items()}
    copies = {k: w.detach().cpu().clone(memory_format=torch.contiguous_format) for k, w in tensors.items()}
    _write(path, copies, dict(identity=identity, step=step, running=running))


def _resume(path, identity, network, optimizer, kept) -> tuple[int, float]:
    tensors, about = _read(path)
    if about.get("identity") != identity:
        raise ValueError(f"{path}: expected a checkpoint of {identity}, got {about.get('identity')}: move it away")
    parts: dict[str, dict] = {"net": {}, "kept": {}, "adam": {}}
    for key, w in tensors.items():
        part, name = key.split(".", 1)
        parts[part][name] = w
    network.load_state_dict(parts["net"])
    for name, w in kept.items():
        w.copy_(parts["kept"][name])
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    states: dict[int, dict] = {}
    for key, w in parts["adam"].items():
        i, name = key.split(".", 1)
        like = weights[int(i)]
        # the fused step walks through memory: the moments must lie there in the order of the weights
        states.setdefault(int(i), {})[name] = torch.empty_like(like).copy_(w) if w.shape == like.shape else w
    optimizer.load_state_dict(dict(state=states, param_groups=optimizer.state_dict()["param_groups"]))
    return about["step"], about["running"]
