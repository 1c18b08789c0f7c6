"""A pretend GPU: within `pretend_cuda` torch has a device "cuda", whose tensors say they are there and lie here.

    with pretend_cuda():
        rng = torch.Generator("cuda").manual_seed(0)     # from here on everything is on the pretended device
        g = hl.random_grammar(v=8, m=2, s=2, L=3, generator=rng)
        hl.infer(g, torch.ones(1, 8, 8))                 # ValueError: expected the grammar's device, cuda:0, got cpu

What would fail on a GPU fails here: an operation on tensors of both devices, a generator that is not where its numbers
go, memory of the device given to numpy. All numbers are real, so that code whose way depends on them runs to its end;
they are those of a generator of the processor, so that results can be compared to the last bit.

How: every call of torch, and of a method or property of a tensor, passes through a `TorchFunctionMode`. It takes "cuda"
for "cpu", computes, and marks what comes out by a class without any content, `OnCuda`. What may mix is what CUDA lets
mix: a tensor of the processor without dimensions (a number), `copy_`, assignment to a slice, and places in `x[places]`.
The mode looks at calls from Python only, each as one: of what a function of torch does inside it sees nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hierlib import inference
from hierlib._kernels import cpu as compiled
from hierlib._kernels.causal import cpu as causal
from hierlib.book.page.stamp import stamp
from hierlib.book.runs.checkout import chapter
from hierlib.book.runs.params import placed, resolve
from tests.browser import ROOT

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class OnCuda(Tensor):
    """A tensor of the processor that the mode takes for one of the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # what comes out is marked by the mode alone


class Generator(torch.Generator):
    """A generator that says it is on a device, with numbers of the processor's."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        self = super().__new__(cls, "cpu")
        self._on = _real(device)
        return self

    @property
    def device(self) -> torch.device:
        return self._on


def _real(device: torch.device | str | int) -> torch.device:
    """With its number, which a tensor's device always has; another GPU than the first is refused as torch does."""
    device = torch.device(device)
    if device.type == "cuda" and device.index not in (None, 0):
        raise RuntimeError(f"CUDA error: invalid device ordinal {device.index}")
    return CUDA if device.type == "cuda" else device


def _of(x: Tensor | torch.Generator) -> torch.device:
    return CUDA if isinstance(x, OnCuda) else x.device


def _found(kind: type | tuple[type, ...], *places: Any) -> Iterator[Any]:
    """The objects of a kind in arguments, also in lists and in lists of lists."""
    for x in places:
        if isinstance(x, kind):
            yield x
        elif isinstance(x, list | tuple):
            yield from _found(kind, *x)
        elif isinstance(x, dict):
            yield from _found(kind, *x.values())


def marked(out: Any) -> Any:
    """What a call has returned, with its tensors on the device."""
    if isinstance(out, Tensor):
        return out if isinstance(out, OnCuda) else out.as_subclass(OnCuda)
    if isinstance(out, list | tuple):
        kind = type(out)
        return kind(map(marked, out)) if kind in (list, tuple) else kind(tuple(map(marked, out)))  # of torch's own
    return out


_ANSWERS = {"device": CUDA, "is_cuda": True, "is_cpu": False, "get_device": 0}
_MEMORY = {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage"}  # its address or its contents
_MOVES = {"to", "cpu", "cuda"}
_MAKES = {"as_tensor", "asarray", "tensor"}  # may be given tensors from elsewhere, and say where to
_FROM_ELSEWHERE = {"copy_", "type_as", "_has_compatible_shallow_copy_type", "__set__"}
_ALL_ALIKE = {"cat", "stack", "matmul", "__matmul__", "einsum", "bmm", "gather"}  # not even a number from elsewhere


class _Mode(TorchFunctionMode):
    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, kwargs = _name(func), dict(kwargs or {})
        tensors = list(_found(Tensor, args, kwargs))
        there = any(isinstance(x, OnCuda) for x in tensors)
        if there and name in _ANSWERS:
            return _ANSWERS[name]
        if there and name in _MEMORY:
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy ({name}): use Tensor.cpu() first")
        if tensors and name in _MOVES:
            return _moved(name, *args, **kwargs)
        to = kwargs.get("device")
        asked = None if to is None else _real(to)
        if name == "tensor":  # of numbers on the device it is made on the processor, of one tensor there
            there = isinstance(args[0], OnCuda)
        where = asked or (CUDA if there else CPU)
        if name not in _MAKES:
            _refuse_mixed(name, args, tensors)
        for each in _found(torch.Generator, args, kwargs):
            if each.device.type != where.type:
                raise RuntimeError(f"{name}: expected a generator on {where.type}, got one on {each.device}")
        if asked == CUDA:
            kwargs["device"] = CPU
        leaf = where == CUDA and kwargs.pop("requires_grad", False)
        with torch._C.DisableTorchFunctionSubclass():
            out = func(*args, **kwargs)
            if name in _MAKES and asked and tensors and asked != _of(tensors[0]):
                out = out.clone()  # a copy there, not the same memory
        if name in ("__set__", "__setitem__"):
            return out
        out = marked(out) if where == CUDA else out
        return out.requires_grad_() if leaf else out


def _name(func: Callable) -> str:
    """``numpy`` of a method, ``device`` of the getter of a property."""
    return func.__self__.__name__ if func.__name__ == "__get__" else func.__name__


def _moved(name: str, x: Tensor, *words: Any, **kwargs: Any) -> Tensor:
    """What `to`, `cpu` and `cuda` give: a copy if the device is another one, else as torch does it."""
    to, kind = {"cuda": CUDA, "cpu": CPU}.get(name, _of(x)), x.dtype
    for word in (*words, *(kwargs.pop(key, None) for key in ("device", "dtype", "other"))):
        if isinstance(word, torch.dtype):
            kind = word
        elif isinstance(word, Tensor):
            to, kind = _of(word), word.dtype
        elif isinstance(word, str | torch.device):
            to = _real(word)
    kwargs.pop("non_blocking", None)
    with torch._C.DisableTorchFunctionSubclass():
        if to.type not in ("cuda", "cpu"):
            return x.to(to, kind)
        out = x.to(kind, **kwargs)
        if to != _of(x):
            out = out.clone() if out.data_ptr() == x.data_ptr() else out
        return marked(out) if to == CUDA else out.as_subclass(Tensor) if isinstance(out, OnCuda) else out


def _refuse_mixed(name: str, args: tuple, tensors: list[Tensor]) -> None:
    """Raises where CUDA would, as tensors are on both devices."""
    if name in _FROM_ELSEWHERE or (name == "__setitem__" and next(_found((Tensor, list), (args[1],)), None) is None):
        return
    if name == "__getitem__" and isinstance(args[0], OnCuda):
        return
    if len({_of(x) for x in tensors if x.ndim or name in _ALL_ALIKE or isinstance(x, OnCuda)}) > 1:
        found = ", ".join(f"{_of(x)} {tuple(x.shape)}" for x in tensors)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {found}")


def _kernels(backend: Callable[..., ModuleType]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """`hierlib.inference._backend` with kernels of the device: the processor's, on tensors of the device alone.

    And the modules that it names.
    """
    grammars: dict[int, tuple[Any, Any]] = {}

    def there(name: str, here: ModuleType = compiled) -> Callable[..., list]:
        def run(g: Any, *args: Any) -> list:
            if not all(isinstance(x, OnCuda) for x in _found(Tensor, g.rules, g.weights, args)):
                raise RuntimeError(f"{name}: a kernel of the device was given memory of the processor")
            _, moved = grammars.setdefault(id(g), (g, g.to("cpu")))
            with torch._C.DisableTorchFunction():
                plain = (x.as_subclass(Tensor) if isinstance(x, Tensor) else x for x in args)
                return marked(getattr(here, name)(moved, *plain))

        return run

    names = "infer", "class_posterior", "posterior_sample"
    kernels = SimpleNamespace(__name__="pretended", **{name: there(name) for name in names})
    modules = {"hierlib._kernels.causal.pretended": SimpleNamespace(next_leaf=there("next_leaf", causal))}

    def chosen(name: str, device: torch.device, gradient: bool) -> Any:
        on = device.type == "cuda" and name != "torch" and not gradient
        return kernels if on else backend(name, device, gradient)

    return chosen, modules


@contextlib.contextmanager
def pretend_cuda(*, kernels: bool = True) -> Iterator[None]:
    """Within it torch has one CUDA device, as the module says.

    Args:
        kernels: whether inference has kernels of the device, as with Triton; else it takes the reference in torch.
    """
    answers = {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": "a pretended GPU",
        "get_device_capability": (9, 0),
        "mem_get_info": (2**33, 2**33),
        **dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated"), 0),
        **dict.fromkeys(("synchronize", "empty_cache", "reset_peak_memory_stats")),
    }
    chosen, modules = _kernels(inference._backend) if kernels else (inference._backend, {})
    with contextlib.ExitStack() as stack:
        for name, value in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, value=value, **__: value))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        kinds = {name: kind for name, kind in inference.DEVICES.items() if name != "gpu"}
        stack.enter_context(mock.patch.dict(inference.DEVICES, kinds, clear=True))
        stack.enter_context(mock.patch.object(inference, "_backend", chosen))
        for name, module in modules.items():  # not by mock, which drops what is imported meanwhile
            sys.modules[name] = module
            stack.callback(sys.modules.pop, name)
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # Module.to gives parameters of the device
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        stack.enter_context(_Mode())
        yield


def run_chapter(slug: str, given: Mapping[str, str]) -> dict[str, str]:
    """Runs the cells of a chapter in this process, on the pretended device; what they raise comes out.

    Args:
        slug: of the chapter. given: of its parameters those that are not at their defaults, as text.

    Returns:
        The facts of its stamp.
    """
    each = chapter(ROOT, slug)
    with contextlib.chdir(each.path.parent), pretend_cuda():
        names: dict[str, Any] = {"__name__": "__main__"}
        for line, (source, tags) in zip(each.lines, each.code, strict=True):
            if "parameters" in tags:
                names |= placed(resolve(each.parameters, given, chapter=slug))
            elif "skip-execution" not in tags:
                exec(compile("\n" * line + source, str(each.path), "exec"), names)
        return stamp().facts


if __name__ == "__main__":
    print(run_chapter(sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:])))
