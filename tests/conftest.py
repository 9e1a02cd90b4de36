"""What the tests of several folders share."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does: time is measured in benchmarks.
settings.register_profile("bincodec", deadline=None)
settings.load_profile("bincodec")


def repair(data: bytes, *, header: bool = True) -> bytes:
    """Recompute the checksums of all chunks, as far as the lengths lead, and of the header."""
    fixed = bytearray(data)
    if header:
        fixed[32:36] = zlib.crc32(fixed[:32]).to_bytes(4, "little")
    start = 36
    while start + 12 <= len(fixed):
        stop = start + 4 + int.from_bytes(fixed[start + 1 : start + 4], "little") + 4
        if stop + 4 > len(fixed):
            break
        fixed[stop : stop + 4] = zlib.crc32(fixed[start:stop]).to_bytes(4, "little")
        start = stop + 4
    return bytes(fixed)


@pytest.fixture(name="repair", scope="session")
def repair_fixture() -> Callable[..., bytes]:
    """`repair`, for modules that cannot import this one."""
    return repair


@pytest.fixture(scope="session")
def bits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of single bits with three classes and a size of its own, as random as `tiny-1`."""
    import torch

    from bincodec.model import weights
    from bincodec.model.architecture import Architecture
    from bincodec.model.autoencoder import Autoencoder
    from bincodec.model.prior import Prior
    from bincodec.train.quantise import QuantisedPrior, RangeRecorder

    architecture = Architecture((2, 3), (1, 1), (2, 1), "logistic", "value", 8, 12, 1, 1, 16, 2, classes=3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        autoencoder, prior = Autoencoder(architecture), Prior(architecture)
        with torch.no_grad():
            for name, parameter in prior.named_parameters():
                if name.startswith(("head", "stem_class")):
                    parameter.normal_(0, 0.3)
            recorder = RangeRecorder(prior)
            context = torch.randint(-1, 2, (8, 5, 12, 12)) / 2
            prior(context, torch.ones(8, 2, 12, 12), torch.linspace(0, 1, 8), torch.arange(8) % 4)
    recorder.close()
    network = QuantisedPrior(prior, architecture, recorder.ranges).export()
    path = tmp_path_factory.mktemp("bits") / "bits-1.safetensors"
    card = {"classes": ["cat", "dog", "not sure"], "size": [48, 32]}
    weights.save(path, "bits-1", architecture, autoencoder.state_dict(), network, card)
    return path
