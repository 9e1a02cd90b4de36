"""Time one codec on one picture in a process of its own: `python -m bincodec.eval.timing JOB`."""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bincodec.errors import BincodecError
from bincodec.eval import compressai, peers
from bincodec.eval.formats import Pixels
from bincodec.eval.peers import Peer
from bincodec.io import images

if TYPE_CHECKING:
    from bincodec.codec import Codec


@dataclass(frozen=True)
class Job:
    """What to measure. "seconds" times the codec, and "networks" counts what its networks compute."""

    what: Literal["seconds", "networks"]
    image: str
    spec: str
    setting: int
    model: str
    device: str
    repeat: int


@dataclass(frozen=True)
class Seconds:
    """The median and the least time of several calls, after one call that warms up."""

    median: float
    least: float


@dataclass(frozen=True)
class Timing:
    """The times of one codec on one picture.

    Args:
        bytes: the size of the file.
        load: the seconds to load its libraries and its model, once.
        encode: the time to encode pixels to a complete file.
        checked: the time to encode, and to read the file back to levels as `bincodec compress` does. It is
            None for other codecs.
        decode: the time to decode a complete file to pixels.
        loaded_megabytes: the peak memory of the process before anything was coded.
    """

    bytes: int
    load: float
    encode: Seconds
    checked: Seconds | None
    decode: Seconds
    loaded_megabytes: float


def find(spec: str, *, model: str = "photo", device: str = "cpu") -> Peer:
    """Return a codec of `bincodec.eval.peers`, or a network of CompressAI.

    Raises:
        UnknownCodec, NotInstalled, UnknownModel, DamagedModel: as in `peers.find` and `compressai.find`.
    """
    if spec.partition(":")[0] in compressai.NAMES:
        return compressai.find(spec, device=device)
    return peers.find(spec, model=model, device=device)


def measure(make: Callable[[], Peer], pixels: Pixels, setting: int, repeat: int) -> Timing:
    """Time the codec that `make` returns on a picture, uint8 (H, W, 3).

    Raises:
        ValueError: if the decoded picture has another shape.
    """
    start = time.perf_counter()
    peer = make()
    loaded = peer.prepare()
    load = time.perf_counter() - start
    megabytes = peak_megabytes()
    data = peer.encode(pixels, setting)
    decoded = peer.decode(data)
    if decoded.shape != pixels.shape:
        msg = f"{peer.name} decodes {pixels.shape} as {decoded.shape}"
        raise ValueError(msg)
    checked = None
    if codec := as_codec(loaded):
        checked = median(lambda: codec.unpack(peer.encode(pixels, setting)), repeat)
    return Timing(
        len(data),
        load,
        median(lambda: peer.encode(pixels, setting), repeat),
        checked,
        median(lambda: peer.decode(data), repeat),
        megabytes,
    )


def median(call: Callable[[], object], repeat: int) -> Seconds:
    """Return the median and the least time of `repeat` calls."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return Seconds(statistics.median(seconds), min(seconds))


def peak_megabytes() -> float:
    """Return the peak memory of this process, or nan if the system does not report it."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def count(job: Job, pixels: Pixels) -> list[dict[str, Any]]:
    """Count what networks do when the picture is encoded and decoded; for bincodec, also part by part.

    The result is empty for a codec without networks.
    """
    peer = find(job.spec, model=job.model, device=job.device)
    loaded: Any = peer.prepare()
    if loaded is None:
        return []  # This process then does not load PyTorch.
    from bincodec.eval import networks

    parts: list[networks.Part] = []
    if codec := as_codec(loaded):
        # Only the work of this kernel consists of convolutions and matrix products, which are counted.
        spec = peers.read_spec(job.spec, model=job.model, device=job.device)
        peer = peers.build(replace(spec, options=tuple({**spec.values, "kernel": "conv"}.items())))
        parts = networks.parts(codec, pixels.shape[1], pixels.shape[0], job.setting)
        encoder, decoder, prior = (
            sum(part.parameters or 0 for part in parts if part.name.startswith(name))
            for name in ("encoder", "decoder", "prior")
        )
        # Encoding also decodes, in order to fit the post-filter.
        encoding, decoding = encoder + decoder + prior, decoder + prior
    else:
        encoding = decoding = networks.parameters(loaded)
    data = peer.encode(pixels, job.setting)
    encode = networks.multiply_adds(lambda: peer.encode(pixels, job.setting))
    decode = networks.multiply_adds(lambda: peer.decode(data))
    both = [networks.Part("encoding", encoding, encode), networks.Part("decoding", decoding, decode)]
    return [dataclasses.asdict(part) for part in (*both, *parts)]


def as_codec(loaded: object) -> Codec | None:
    """Return what an adapter has loaded if it is a codec of this project, else None."""
    if loaded is None:
        return None
    from bincodec.codec import Codec

    return loaded if isinstance(loaded, Codec) else None


def main(text: str) -> str:
    """Do a job that is given as JSON, and return its results as JSON."""
    job = Job(**json.loads(text))
    pixels = images.load_opaque(job.image)
    if job.what == "networks":
        return json.dumps(count(job, pixels))
    make = functools.partial(find, job.spec, model=job.model, device=job.device)
    return json.dumps(dataclasses.asdict(measure(make, pixels, job.setting, job.repeat)))


if __name__ == "__main__":
    try:
        print(main(sys.argv[1]))
    except BincodecError as error:
        sys.exit(str(error))
