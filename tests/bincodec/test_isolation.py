"""The caller's settings of PyTorch and NumPy change no byte, bit or pixel, and are restored afterwards.

Every state is combined with every call. A context manager of `STATES` enters a state, and a function of
`CALLS` makes a call.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bincodec import BinaryCode, Codec, InvalidSetting, decoder
from bincodec.isolation import isolated, memory_errors

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
PIXELS = np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)
MASK = np.zeros(PIXELS.shape[:2], bool)
MASK[4:20, 10:40] = True


# --- states -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def switched(read: Callable[[], Any], write: Callable[[Any], object], value: Any) -> Iterator[None]:
    """Set a global switch to `value` inside this block."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def default_type(kind: torch.dtype) -> AbstractContextManager[None]:
    return switched(torch.get_default_dtype, torch.set_default_dtype, kind)


@contextlib.contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    backends: Any = torch.backends
    switches = (backends.mkldnn.matmul, backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        with switched(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, precision):
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value  # "highest" is another name for the same.


def all_products(precision: str) -> AbstractContextManager[None]:
    backends: Any = torch.backends
    return switched(lambda: "none", lambda value: setattr(backends, "fp32_precision", value), precision)


@contextlib.contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_type(torch.float64),
    "bfloat16": lambda: default_type(torch.bfloat16),
    "float16": lambda: default_type(torch.float16),
    "default device": lambda: switched(lambda: None, torch.set_default_device, "meta"),
    "device block": lambda: torch.device("meta"),
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "deterministic": lambda: switched(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "no denormals": lambda: switched(lambda: False, torch.set_flush_denormal, True),
    "matrices high": lambda: matrix_products("high"),
    "matrices medium": lambda: matrix_products("medium"),
    "all in bfloat16": lambda: all_products("bf16"),
    "numpy raises": lambda: np.errstate(all="raise"),
    "warnings raise": strict_warnings,
}
OF_A_THREAD = (
    "device block",
    "autocast bfloat16",
    "inference",
    "no gradients",
    "numpy raises",
    "default device",
)


def state() -> dict[str, Any]:
    """Return everything that a caller could find changed."""
    backends: Any = torch.backends
    libraries = (backends, backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv, backends.cudnn.conv)
    return {
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "modes": torch._C._len_torch_function_stack(),
        "autocast": [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")],
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "denormals": sys.float_info.min / 2,
        "products": [library.fp32_precision for library in libraries],
        "matrices": torch.get_float32_matmul_precision()
        if backends.fp32_precision == "none"
        else None,  # PyTorch itself refuses to answer.
        "threads": torch.get_num_threads(),
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "random": (torch.random.get_rng_state().tolist(), np.random.get_state(legacy=True)[1].tolist()),  # type: ignore[index]
    }


# --- calls ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Given:
    """The objects that the calls use."""

    codec: Codec
    code: BinaryCode
    data: bytes
    two_decoders: Codec


def with_multipliers(codec: Codec) -> Codec:
    """Return a codec that can search."""
    card = dataclasses.replace(codec.model.card, card={**codec.model.card.card, "lambda_range": [1e-4, 1e-2]})
    return Codec(dataclasses.replace(codec.model, card=card))


def levels(codes: list[BinaryCode]) -> list[str]:
    return [code.digest() for code in codes]


def shown(codec: Codec, code: BinaryCode, layers: int | None = None) -> bytes:
    return codec.decode(code, layers).tobytes()


def loaded(given: Given) -> Any:
    """Load a codec in this state, and do its other work outside of inference mode and with gradients."""
    codec = with_multipliers(Codec.load(str(TINY)))
    with torch.inference_mode(mode=False), torch.enable_grad():
        return searched(dataclasses.replace(given, codec=codec)), shown(codec, given.code)


def mixed(given: Given) -> bytes:
    """Mix the weights of two decoders anew: only the latest ones are kept."""
    codec = given.two_decoders
    code = dataclasses.replace(given.code, fingerprint=codec.model.card.fingerprint)
    first, second = (codec.decode(code, realism=x).tobytes() for x in (0.25, 0.75))
    return first + second


def searched(given: Given) -> Any:
    code = given.codec.encode(PIXELS, 60, effort=2)
    return code.digest(), code.extras


def inpainted(given: Given) -> Any:
    return [
        (part.code.digest(), part.image.tobytes())
        for source in (PIXELS, given.code)
        for part in given.codec.inpaint(source, MASK, count=1, steps=3)
    ]


def completed(given: Given) -> Any:
    found = given.codec.complete(given.code, 1)
    return found.code.digest(), found.real_share


CALLS: dict[str, Callable[[Given], Any]] = {
    "load": loaded,
    "encode": lambda given: given.codec.encode(PIXELS, 40).digest(),
    "compress": lambda given: given.codec.compress(PIXELS, 70),
    "decompress": lambda given: given.codec.decompress(given.data, layers=1, missing="sample").tobytes(),
    "effort": searched,
    "decode": lambda given: shown(given.codec, given.code),
    "decode by a mixed decoder": mixed,
    "decode a prefix": lambda given: shown(given.codec, given.code, 1),
    "pack": lambda given: given.codec.pack(given.code, verify=True),
    "unpack": lambda given: given.codec.unpack(given.data).digest(),
    "cost": lambda given: given.codec.cost(given.code).tobytes(),
    "sample": lambda given: levels(given.codec.sample(1, (48, 32), sampler="diffusion", steps=3)),
    "sample in order": lambda given: levels(
        given.codec.sample(1, (48, 32), sampler="autoregressive", temperature=0.8)
    ),
    "inpaint": inpainted,
    "vary": lambda given: levels(given.codec.vary(PIXELS, 0.5, steps=4)),
    "complete": completed,
}


@pytest.fixture(scope="module")
def given(codec: Codec, two_decoders: Path) -> Given:
    codec = with_multipliers(codec)
    code = codec.encode(PIXELS, 50)
    return Given(codec, code, codec.pack(code), Codec.load(str(two_decoders)))


@pytest.fixture(scope="module")
def undisturbed(given: Given) -> dict[str, Any]:
    return {name: call(given) for name, call in CALLS.items()}


# --- the same results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATES)
def test_no_state_changes_an_answer(name: str, given: Given, undisturbed: dict[str, Any]) -> None:
    outside = state()
    with STATES[name]():
        inside = state()
        for call, function in CALLS.items():
            assert function(given) == undisturbed[call], call
            assert state() == inside, call
    assert state() == outside


@pytest.mark.parametrize("name", STATES)
def test_an_exception_leaves_the_state_as_it_was(
    name: str, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        msg = "broken"
        raise RuntimeError(msg)

    monkeypatch.setattr(decoder, "synthesise", broken)
    with STATES[name]():
        inside = state()
        with pytest.raises(RuntimeError, match="broken"):
            given.codec.decode(given.code)
        with pytest.raises(InvalidSetting):
            given.codec.encode(PIXELS, 101)
        assert state() == inside


def test_nor_does_a_second_thread(given: Given, undisturbed: dict[str, Any]) -> None:
    with switched(torch.get_num_threads, torch.set_num_threads, 2):
        for call in ("encode", "decode", "unpack"):
            assert CALLS[call](given) == undisturbed[call], call
        assert torch.get_num_threads() == 2


def test_what_was_loaded_in_inference_mode_is_as_good_as_any(
    undisturbed: dict[str, Any], given: Given
) -> None:
    with torch.inference_mode():
        codec = with_multipliers(Codec.load(str(TINY)))
    assert not any(parameter.is_inference() for parameter in codec.model.autoencoder.parameters())
    assert searched(dataclasses.replace(given, codec=codec)) == undisturbed["effort"]


class NoDefaults(TorchDispatchMode):
    """Find tensors of a dtype that nobody asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made, read = (
            {part.dtype for part in tree_leaves(tree) if isinstance(part, torch.Tensor)}
            for tree in (result, (args, kwargs))
        )
        if torch.bfloat16 in made - read:
            self.found.add(str(func))
        return result


@pytest.mark.parametrize(
    "call", [name for name in CALLS if name != "load"]
)  # The random initial weights are not used.
def test_every_tensor_says_its_type(call: str, given: Given) -> None:
    """The default dtype belongs to the whole process and cannot be set for a while. Nothing uses it."""
    with default_type(torch.bfloat16), NoDefaults() as watch:
        CALLS[call](given)
    assert not watch.found


# --- threads ----------------------------------------------------------------------------------------------


def test_threads_in_states_of_their_own_do_not_meet(given: Given, undisturbed: dict[str, Any]) -> None:
    wrong: list[object] = []
    calls = ("encode", "decode", "decode by a mixed decoder", "pack", "unpack", "effort")
    own = ("device", "modes", "autocast", "gradients", "inference", "denormals", "numpy")

    def work(name: str) -> None:
        try:
            with STATES[name]():
                inside = state()
                wrong.extend((name, call) for call in calls if CALLS[call](given) != undisturbed[call])
                after = state()
                wrong.extend((name, key) for key in own if after[key] != inside[key])
        except Exception as error:
            wrong.append((name, error))

    outside = state()
    with matrix_products("medium"), default_type(torch.float64):
        threads = [threading.Thread(target=work, args=(name,)) for name in OF_A_THREAD]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_float32_matmul_precision() == "medium"
    assert not wrong
    assert state() == outside


def test_the_last_one_out_sets_products_back() -> None:
    matrices: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with matrix_products("medium"):
        first, second = isolated(), isolated()
        first.__enter__()
        second.__enter__()
        assert matrices.fp32_precision == "ieee"
        first.__exit__(None, None, None)
        assert matrices.fp32_precision == "ieee"
        second.__exit__(None, None, None)
        assert matrices.fp32_precision == "bf16"


def test_what_a_caller_sets_meanwhile_stays() -> None:
    matrices: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with matrix_products("medium"):
        with isolated():
            torch.set_float32_matmul_precision("high")
        assert matrices.fp32_precision == "tf32"


# --- memory and processes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 48000000 bytes. Error code 12 (Cannot allocate memory)",
            "not enough memory: 48000000 bytes more were needed",
        ),
        (
            "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to "
            "allocate 12 bytes.",
            "not enough memory: 12 bytes more were needed",
        ),
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"
            ),
            "not enough memory: 2.00 GiB more were needed",
        ),
        (torch.OutOfMemoryError("of some kind"), "not enough memory"),
    ],
)
def test_torch_s_words_for_no_memory_become_one(told: str | RuntimeError, expected: str) -> None:
    with pytest.raises(MemoryError) as caught, memory_errors():
        raise told if isinstance(told, RuntimeError) else RuntimeError(told)
    assert str(caught.value) == expected


def run(code: str, timeout: float) -> str:
    """Return what a program prints. It is stopped after `timeout` seconds."""
    code = f"TINY = {str(TINY)!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # There may be two threads on a busy machine.
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


NO_MEMORY = """
import resource
import numpy as np, torch
from bincodec import Codec
torch.set_num_threads(1)
codec = Codec.load(TINY)
picture = np.zeros((3000, 3000, 3), np.uint8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, resource.RLIM_INFINITY))
try:
    codec.encode(picture)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_too_little_memory_is_a_memory_error() -> None:
    told = run(NO_MEMORY, 60)
    assert told.startswith("not enough memory: ")
    assert "\n" not in told


FORK = """
import multiprocessing, threading
import numpy as np, torch
from bincodec import Codec
torch.set_num_threads(2)
codec = Codec.load(TINY)
pictures = [np.full((160, 200 + 16 * i, 3), 40 * i, np.uint8) for i in range(2)]

def packed(picture):
    return codec.pack(codec.encode(picture), verify=True)

def in_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(packed, pictures)

expected = [packed(picture) for picture in pictures]
assert in_processes() == expected
found = []
thread = threading.Thread(target=lambda: found.extend(in_processes()))
thread.start()
thread.join()
assert found == expected
assert torch.get_num_threads() == 2
print("all the same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_goes_on() -> None:
    assert run(FORK, 60) == "all the same"
