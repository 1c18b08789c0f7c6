"""A result is that of its inputs, all of them, or it is not served."""

import hashlib
from pathlib import Path

import pytest
import torch

from hierlib import _provenance as provenance

INPUTS = dict(seed=0, k=[1, 3], weights="ab12", times=(0.5, 1.0), matched=False, quality=None)


def test_the_same_inputs_are_the_same_after_json():
    provenance.same_inputs(Path("x"), provenance.plain(INPUTS), INPUTS)


@pytest.mark.parametrize(
    "change", [dict(seed=1), dict(k=[3, 1]), dict(weights="ab13"), dict(times=(0.5,)), dict(matched=0.5), dict(more=1)]
)
def test_any_other_input_is_refused_and_named(change):
    [name] = change
    with pytest.raises(ValueError, match=rf"x: expected a result of {name} .*, got one of {name} .*move this one away"):
        provenance.same_inputs(Path("x"), provenance.plain(INPUTS | change), INPUTS)
    with pytest.raises(ValueError, match=rf"got one of {name}"):
        provenance.same_inputs(Path("x"), provenance.plain(INPUTS), INPUTS | change)


def test_what_differs_is_named_however_deep():
    inputs = INPUTS | dict(schedule=dict(batch=32, rate=dict(first=0.1)))
    other = INPUTS | dict(schedule=dict(batch=32, rate=dict(first=0.2)))
    with pytest.raises(ValueError, match=r"of schedule\.rate\.first 0\.2, got one of schedule\.rate\.first 0\.1; name"):
        provenance.same_inputs(Path("x"), provenance.plain(inputs), other)
    with pytest.raises(ValueError, match="a result of schedule 3"):
        provenance.same_inputs(Path("x"), provenance.plain(inputs), INPUTS | dict(schedule=3))


def test_a_result_without_a_record_is_refused():
    with pytest.raises(ValueError, match="expected a result that says which inputs made it"):
        provenance.same_inputs(Path("x"), None, INPUTS)


def test_digests_are_of_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    x = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2)}
    same = dict(reversed(x.items())) | {"a": torch.arange(6.0).reshape(3, 2).T.contiguous().T.reshape(2, 3)}
    digest = provenance.sha256_of_tensors(x)
    assert digest == provenance.sha256_of_tensors(same | {"a": x["a"].T.contiguous().T})
    others = [dict(a=x["a"].double()), dict(a=x["a"].reshape(3, 2)), dict(a=x["a"] + 1), dict(b=x["b"] + 1)]
    digests = {digest, *(provenance.sha256_of_tensors(x | other) for other in [*others, dict(c=x["b"])])}
    assert len(digests) == 6


def test_versions_and_commit(tmp_path):
    assert {"python", "hierlib", "torch"} <= set(provenance.versions())
    assert provenance.commit(tmp_path) == "unknown"
    assert provenance.device().startswith(("CPU", "NVIDIA"))
