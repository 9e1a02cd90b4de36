"""Make `tiny-1.safetensors`: a model with random weights, frozen for the tests of format and arithmetic.

    python tests/models/make_tiny.py

Run it only to replace the file on purpose. Golden files and digests in the tests belong to the existing file.
"""

from pathlib import Path

import torch

from bincodec.model import weights
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.prior import Prior
from bincodec.train.quantise import QuantisedPrior, RangeRecorder

TINY = Architecture(
    layer_channels=(2, 3, 4),
    maximum_level=(6, 3, 1),
    layer_phases=(4, 2, 1),
    width_8=8,
    width_16=12,
    blocks_8=1,
    blocks_16=1,
    prior_width=16,
    prior_blocks=2,
)


def main() -> None:
    """Write the model beside this script."""
    torch.manual_seed(20)
    autoencoder, prior = Autoencoder(TINY), Prior(TINY)
    with torch.no_grad():
        autoencoder.encoder.head.weight.mul_(6)
        for parameter in (prior.head.weight, prior.head_quality.weight, prior.stem_quality.weight):
            parameter.normal_(0, 0.1)
    recorder = RangeRecorder(prior)
    with torch.no_grad():
        context = torch.randint(-3, 4, (8, TINY.channels, 12, 12)).float()
        prior(context, torch.ones(8, TINY.layers, 12, 12), torch.linspace(0, 1, 8))
    recorder.close()
    network = QuantisedPrior(prior, TINY, recorder.ranges).export()
    path = Path(__file__).with_name("tiny-1.safetensors")
    card = weights.save(
        path, "tiny-1", TINY, autoencoder.state_dict(), network, {"description": "random weights"}
    )
    print(f"{path.name}: fingerprint {card.fingerprint.hex()}")


if __name__ == "__main__":
    main()
