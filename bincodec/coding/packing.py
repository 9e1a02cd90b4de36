"""From a code to the bytes of a file, and back: exact, whatever the machine (FORMAT; DESIGN §5, §6)."""

from __future__ import annotations

from bincodec.bitstream.container import Container
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import Limits
from bincodec.bitstream.stream import LayerReader, LayerWriter
from bincodec.code import BinaryCode, Levels
from bincodec.coding import passes
from bincodec.coding.order import Pass
from bincodec.coding.passes import Integers, Positions
from bincodec.errors import BitsMismatch, Corrupt, InvalidSetting, Truncated
from bincodec.model.architecture import grid_of
from bincodec.model.kernels import IntegerPrior, Kernel
from bincodec.model.weights import Model
from bincodec.postfilter.filter import read_filter

SAFEST_KERNEL: Kernel = "float64"


class _WritingSource:
    """A source that knows the levels and passes them on to a writer."""

    def __init__(self, levels: tuple[Levels, ...], writer: LayerWriter) -> None:
        self._levels = levels
        self._writer = writer

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Write the pass."""
        levels = passes.at_positions(self._levels[step.layer], positions)
        self._writer.put(levels, mu, scale, maximum)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the writer close its chunk, if it is time."""
        self._writer.end_layer(levels)


class _ReadingSource:
    """A source that reads the levels from a file."""

    def __init__(self, reader: LayerReader) -> None:
        self._reader = reader

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Read the pass."""
        return self._reader.get(mu, scale, maximum)

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the reader check what it has decoded."""
        self._reader.end_layer(levels)


def pack(prior: IntegerPrior, code: BinaryCode) -> bytes:
    """The bytes of a `.bld` file of `code`, whose model the prior belongs to.

    Raises:
        InvalidSetting: if the code is what was left of a damaged file.
    """
    if not code.intact:
        msg = "the code is what was left of a damaged file; it packs only if marked intact=True by hand"
        raise InvalidSetting(msg)
    header = Header(code.width, code.height, code.quality, code.layers, code.fingerprint, code.grey)
    writer = LayerWriter(header)
    passes.run(prior, code.quality, code.grid, code.layers, _WritingSource(code.levels, writer))
    return writer.finish(code.ancillary)


def limits_of(code: BinaryCode) -> Limits:
    """Limits that the file of `code` is within."""
    return Limits(pixels=code.width * code.height, side=max(code.width, code.height))


def unpack(model: Model, container: Container) -> BinaryCode:
    """The code in a file that was taken apart; `pack` turns it into the same bytes again.

    Raises:
        WrongModel: if another model wrote the file.
        Corrupt, Truncated: for a file that does not decode to what was written.
    """
    model.card.check(container.header.fingerprint)
    own = model.card.architecture.layers
    if container.header.layers > own:
        msg = f"the file has {container.header.layers} layers, more than the {own} of model {model.card.name}"
        raise Corrupt(msg)
    try:
        return _unpack(model, model.prior, container)
    except BitsMismatch:
        # Every payload arrived as it was written. Should a library have broken the exact arithmetic
        # in a shape that the self-test did not see, the slowest dtype still gets it right.
        return _unpack(model, model.prior.with_kernel(SAFEST_KERNEL), container)


def _unpack(model: Model, prior: IntegerPrior, container: Container) -> BinaryCode:
    header = container.header
    reader = LayerReader(container)
    if not reader.layers_available:
        msg = "nothing arrived intact: the first chunk, all of a small file, is damaged or cut short"
        raise Truncated(msg)
    read_filter(container.ancillary)  # a malformed post-filter makes the file corrupt, wanted or not
    grid, source = grid_of(header.width, header.height), _ReadingSource(reader)
    levels = passes.run(prior, header.quality, grid, reader.layers_available, source)
    return BinaryCode(
        levels,
        model.card.architecture.maximum_level[: len(levels)],
        header.width,
        header.height,
        header.quality,
        model.card.name,
        header.fingerprint,
        header.grey,
        container.intact,
        tuple(container.ancillary),
    )
