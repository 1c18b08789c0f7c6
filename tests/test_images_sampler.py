"""Forward and backward: the reference's index convention, independence of the batch, a run that is killed goes on."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from hierlib.images import models, sampler, schedule
from hierlib.images.adm import adm_scheduler
from hierlib.images.unet import small_config, unet

CONFIG = small_config(1, 8, (8, 16))


def small(seed=0, **scheduler):
    """A little untrained denoiser of 8 × 8 images."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = unet(CONFIG).eval()
    steps = dict(schedule.LINEAR, prediction_type="v_prediction", timestep_spacing="linspace") | scheduler
    return models.DiffusionModel(network, schedule.exact_scheduler(**steps), 1, 8, fold=2, name="little", lanes=4)


def images(n=7, seed=0):
    return torch.randint(256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Truth(torch.nn.Module):
    """A network that knows the clean state: its output is the exact noise of any state around it."""

    def __init__(self, x0, alpha_bar):
        super().__init__()
        self.x0, self.alpha_bar = torch.nn.Parameter(x0), alpha_bar
        self.told = []

    def forward(self, x, t, return_dict):
        self.told.append(int(t[0]))
        a = self.alpha_bar[t[0]]
        return ((x - a.sqrt() * self.x0) / (1 - a).sqrt(),)


def truth(x, **scheduler):
    steps = schedule.exact_scheduler(**schedule.LINEAR, timestep_spacing="linspace", **scheduler)
    model = models.DiffusionModel(torch.nn.Linear(1, 1), steps, 1, 8, fold=2, name="truth")
    network = Truth(model.encode(x), steps.alphas_cumprod)
    return models.DiffusionModel(network, steps, 1, 8, fold=2, name="truth"), network


def test_images_survive_the_state():
    x = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    model = small()
    assert model.encode(x).shape == (4, 4, 4, 4)
    assert torch.equal(model.decode(model.encode(x)), x)
    assert model.encode(x).min() == -1 and model.encode(x).max() == 1
    cut = model.decode(torch.full((1, 4, 4, 4), 0.999), truncate=True)
    assert (cut == 254).all() and (model.decode(torch.full((1, 4, 4, 4), 0.999)) == 255).all()


@pytest.mark.parametrize("k", [1, 6, 25])
def test_a_perfect_denoiser_gives_the_image_back(k):
    x = images(3)
    model, network = truth(x)
    assert torch.equal(sampler.forward_backward(model, x, k, steps=25, show=False), x)
    times = sampler.respaced(model, 25)[1]
    assert network.told == times[:k][::-1], "it denoises from index k - 1 down to 0"


def test_noise_is_that_of_index_k_and_matched_that_of_index_k_minus_one():
    """k = 25 of 250: noise of standard deviation .3238 where the network is told .3121."""
    model = models.DiffusionModel(small().network, adm_scheduler(), 1, 8, fold=2)
    x = torch.zeros(2000, 4, 4, 4)
    for matched, expected in ((False, 0.3238), (True, 0.3121)):
        rngs = [sampler.generator("cpu", 0, 25, i) for i in range(len(x))]
        std = float(sampler.noised(model, x, 25, steps=250, matched=matched, rngs=rngs).std())
        assert abs(std - expected) < 4 * expected / (2 * x.numel()) ** 0.5
    rngs = [sampler.generator("cpu", 0, 250, i) for i in range(2)]
    a = sampler.noised(model, x[:2] + 5.0, 250, steps=250, matched=False, rngs=rngs)
    rngs = [sampler.generator("cpu", 0, 250, i) for i in range(2)]
    assert torch.equal(a, sampler.noised(model, x[:2], 250, steps=250, matched=False, rngs=rngs)), "pure noise"


def test_noise_prediction_from_every_kind_of_output():
    x, model = images(2), small()
    state, t = model.encode(x), 300
    a = model.scheduler.alphas_cumprod[t]
    noise = torch.randn(state.shape, generator=torch.Generator().manual_seed(1))
    noisy = a.sqrt() * state + (1 - a).sqrt() * noise
    answers = dict(epsilon=noise, sample=state, v_prediction=a.sqrt() * noise - (1 - a).sqrt() * state)
    for kind, answer in answers.items():
        model = small(prediction_type=kind)
        model.network.forward = lambda *_, answer=answer, **__: (answer,)
        torch.testing.assert_close(model.eps(noisy, t), noise, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_batch():
    x, model = images(7), small()
    whole = sampler.forward_backward(model, x, [3, 10], steps=10, batch=7, show=False)
    for batch in (1, 3):
        assert torch.equal(sampler.forward_backward(model, x, [3, 10], steps=10, batch=batch, show=False), whole)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(sampler.forward_backward(model, x, [3, 10], steps=10, seed=1, show=False), whole)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_the_float_state_does_not_depend_on_the_batch(batch):
    model = small()
    states = []
    for size in (7, batch):
        parts = []
        for i in range(0, 7, size):
            rngs = [sampler.generator("cpu", 0, 10, j) for j in range(i, min(i + size, 7))]
            x = sampler.noised(model, model.encode(images(7)[i : i + size]), 10, steps=10, matched=False, rngs=rngs)
            parts.append(sampler.denoised(model, x, 10, steps=10, rngs=rngs))
        states.append(torch.cat(parts))
    assert torch.equal(*states)


def test_half_precision_network_single_precision_state():
    x, model = images(2), small()
    expected = model.output(model.encode(x), 500)
    half = model.to(dtype=torch.bfloat16)
    out = half.output(model.encode(x), 500)
    assert out.dtype == torch.float32 and 0 < (out - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(k=[0]), "k: expected inversion times from 1 to 10 steps, got .0.; k = 0 would change nothing"),
        (dict(k=[11]), "k: expected inversion times from 1 to 10 steps, got .11."),
        (dict(steps=1), "steps: expected 2 to 1000 for little, got 1"),
        (dict(steps=1001), "steps: expected 2 to 1000 for little, got 1001"),
        (dict(batch=0), "batch ≥ 1"),
        (dict(k=[]), "expected images, inversion times"),
        (dict(images=images(0)), "expected images"),
        (dict(images=images().float()), "images: expected uint8 of shape .n, 1, 8, 8. for little, got torch.float32"),
        (dict(images=images()[..., :7]), "got torch.uint8 .7, 1, 8, 7."),
    ],
    ids=lambda x: ", ".join(x) if isinstance(x, dict) else "",
)
def test_wrong_arguments(change, why):
    arguments = dict(images=images(), k=[3], steps=10) | change
    with pytest.raises(ValueError, match=why):
        sampler.forward_backward(small(), arguments.pop("images"), arguments.pop("k"), **arguments, show=False)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_network_that_says_nan_ends_the_way_back_at_that_step(bad):
    """Infinity, too, which clipping would turn into black and white."""
    model = small(clip_sample=True)
    calls, forward = iter(range(100)), model.network.forward
    model.network.forward = lambda *a, **b: (
        forward(*a, **b)[0].fill_(bad) if next(calls) == 3 else forward(*a, **b)[0],
    )
    with pytest.raises(
        ValueError, match=r"little, way back of 10 steps, step 4 \(t = 666\): .* in float32; its weights are"
    ):
        sampler.forward_backward(model, images(3), 10, steps=10, show=False)


def test_an_overflow_of_half_precision_is_said_and_what_helps():
    """Weights that float16 holds, and activations that it does not."""
    model = small()
    with torch.no_grad():
        model.network.conv_in.weight.mul_(6e4 / model.network.conv_in.weight.abs().max())
    whole = sampler.forward_backward(model, images(2), 3, steps=10, show=False)
    assert whole.unique().numel() > 1
    half = model.to(dtype=torch.float16)
    with pytest.raises(ValueError, match=r"step 1 \(t = 222\): .* in float16; run the network in float32: model\.to"):
        sampler.forward_backward(half, images(2), 3, steps=10, show=False)


def test_a_state_that_is_not_finite_is_no_image():
    with pytest.raises(ValueError, match=r"state of little: expected finite numbers, got nan .1 of 64"):
        small().decode(torch.zeros(1, 4, 4, 4).index_put_((torch.tensor(0),) * 4, torch.tensor(torch.nan)))


RUN = """
import sys, torch
torch.set_num_threads(1)
from tests.test_images_sampler import images, small
from hierlib.images import sampler
model = small()
slow = model.network.forward
def forward(*a, **b):
    import time
    time.sleep(0.02)
    return slow(*a, **b)
model.network.forward = forward
print("ready", flush=True)
sampler.forward_backward(model, images(6), [2, 10], steps=10, batch=2, folder=sys.argv[1], show=False)
"""


@pytest.mark.slow
def test_a_killed_run_loses_one_batch_at_most(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    done = 0
    with subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout.readline() == b"ready\n"
        while len(list(folder.glob("*.safetensors"))) < 4:
            assert process.poll() is None, "it must still be running"
            time.sleep(0.005)
        time.sleep(0.05)  # into the next batch
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = len(list(folder.glob("*.safetensors")))
    assert 4 <= done < 6, "it was killed in the middle"
    calls = []
    network = models.DiffusionModel.output
    monkeypatch.setattr(models.DiffusionModel, "output", lambda *a: calls.append(1) or network(*a))
    resumed = sampler.forward_backward(small(), images(6), [2, 10], steps=10, batch=2, folder=folder, show=False)
    assert len(calls) == 10 * (6 - done), "what was finished is not made again, and nothing else was"
    assert not list(folder.glob("*.part"))
    assert torch.equal(resumed, sampler.forward_backward(small(), images(6), [2, 10], steps=10, batch=6, show=False))


EVERYWHERE = """
import os, pathlib, signal, tempfile, torch
torch.set_num_threads(1)
from tests.test_images_sampler import images, small
from hierlib.images import models, sampler

K, BATCH, STEPS = [1, 3], 2, 4  # two batches of each: 2 × 1 + 2 × 3 calls of the network, four files
seen = end = 0

def event():  # the process ends here, without another word, if it is the event's turn
    global seen
    seen += 1
    if seen == end:
        os.kill(os.getpid(), signal.SIGKILL)

def before_and_after(function):
    def wrapped(*a, **b):
        event()
        out = function(*a, **b)
        event()
        return out
    return wrapped

def piecemeal(save):  # a file is there by half before it is whole
    def wrapped(path, content):
        save(path, content[: len(content) // 2])
        event()
        return save(path, content)
    return wrapped

def run(folder):
    return sampler.forward_backward(small(), images(4), K, steps=STEPS, batch=BATCH, folder=folder, show=False)

whole = run(None)
calls, plain = [], models.DiffusionModel.output
models.DiffusionModel.output, os.replace = before_and_after(plain), before_and_after(os.replace)
pathlib.Path.write_bytes = piecemeal(pathlib.Path.write_bytes)
killed = 0
while True:
    end, seen = killed + 1, 0
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if pid == 0:
            run(folder)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        killed, end = killed + 1, 0
        done = sum(1 for file in pathlib.Path(folder).glob("*.safetensors"))
        wrapped, models.DiffusionModel.output = models.DiffusionModel.output, lambda *a: calls.append(1) or plain(*a)
        calls.clear()
        again = run(folder)
        models.DiffusionModel.output = wrapped
        left = [k for k in K for _ in range(2)][done:]
        assert len(calls) == sum(left), (killed, done, len(calls))
        assert torch.equal(again, whole) and not list(pathlib.Path(folder).glob("*.part")), killed
        print(killed, done, flush=True)
"""


@pytest.mark.slow
def test_killed_at_every_single_moment_it_loses_one_batch_at_most():
    """A process is killed at the first event, another one at the second, …; each is taken up and finished."""
    out = subprocess.run([sys.executable, "-c", EVERYWHERE], capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    finished = [int(line.split()[1]) for line in out.stdout.splitlines()]
    assert len(finished) == 2 * (2 * 1 + 2 * 3) + 3 * 4, "around each call of the network, and in and around each file"
    assert finished == sorted(finished) and set(finished) == {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_files_of_another_run_are_left_alone_and_not_taken(tmp_path):
    """Other options, images, weights, another schedule or precision: nothing of what is there is served for them."""
    x, model = images(4), small()
    options = dict(steps=4, batch=2, show=False)
    others = [(model, x, change) for change in (dict(seed=1), dict(matched=True), dict(steps=5), dict(truncate=True))]
    others += [(model, images(4, seed=1), {}), (replace(model, digest="other"), x, {})]
    others += [(small().to(dtype=torch.float64), x, {}), (small(beta_end=0.01), x, {}), (small(seed=1), x, {})]
    count = 0
    for other, start, change in [(model, x, {}), *others, (model, torch.cat([x[:2], images(2, seed=9)]), {})]:
        given = options | change
        kept = sampler.forward_backward(other, start, [2], **given, folder=tmp_path)
        assert torch.equal(kept, sampler.forward_backward(other, start, [2], **given)), change
        count += 2
    assert len(list(tmp_path.iterdir())) == count - 1, "a batch of the same images is the same batch"
    for path in tmp_path.glob("k0002-000002-*"):
        path.write_bytes(b"cut")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        sampler.forward_backward(model, x, [2], **options, folder=tmp_path)


def test_a_batch_under_a_name_that_is_not_its_own_is_refused(tmp_path):
    options = dict(steps=4, batch=2, show=False, folder=tmp_path)
    sampler.forward_backward(small(), images(2), [2], **options)
    sampler.forward_backward(small(), images(2), [2], **options, seed=1)
    first, second = sorted(tmp_path.iterdir())
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match=r"expected a result of seed \d, got one of seed \d"):
        for seed in (0, 1):
            sampler.forward_backward(small(), images(2), [2], **options, seed=seed)


def test_progress_tells_speed_and_time_left(capsys):
    sampler.forward_backward(small(), images(2), [2], steps=4)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "4/4 network calls" in last and "100%" in last and "images/s" in last and "0:00 left" in last
