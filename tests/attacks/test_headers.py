"""Headers that lie, under a checksum that holds."""

import dataclasses
from collections.abc import Callable

import pytest

import bincodec
from bincodec import BincodecError, BitsMismatch, Codec, Corrupt, NotBld, TooLarge, Truncated
from bincodec.bitstream import container
from bincodec.bitstream.container import Container
from bincodec.errors import UnknownModel, Unsupported, WrongModel

Forge = Callable[..., bytes]
Refuse = Callable[[bytes, type[BincodecError], str], None]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"magic": b"\x89PNG\r\n\x1a\n"}, NotBld, "magic"),
        ({"major": 200}, Unsupported, "format version of the file is 200"),
        ({"flags": 0x0002}, Unsupported, "flags are 0x0002"),
        ({"flags": 0xFFFF}, Unsupported, "flags are 0xffff"),
        ({"reserved": 255}, Unsupported, "0xff"),
        ({"side": 0}, Corrupt, "tile side is 0"),
        ({"side": 15}, Corrupt, "tile side is 15"),
        ({"side": 65}, Corrupt, "tile side is 65"),
        ({"side": 255}, Corrupt, "tile side is 255"),
        ({"quality": 101}, Corrupt, "quality is 101"),
        ({"quality": 255}, Corrupt, "quality is 255"),
        ({"layers": 0}, Corrupt, "layers is 0"),
        ({"width": 0}, Corrupt, "width is 0"),
        ({"height": 0}, Corrupt, "height is 0"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, TooLarge, "4294967295 is over the limit side=65535"),
        ({"width": 65535, "height": 65535}, TooLarge, "4294836225 is over the limit pixels=67108864"),
        ({"width": 65536, "height": 1}, TooLarge, "side=65535"),
        ({"fingerprint": bytes(8)}, WrongModel, "0000000000000000"),
        ({"layers": 4}, Corrupt, "4 layers, but model tiny-1 has only 3"),
        ({"layers": 255}, Corrupt, "255 layers, but model tiny-1 has only 3"),
    ],
)
@pytest.mark.usefixtures("unasked")
def test_a_field_that_lies(
    header: Forge,
    forge: Forge,
    refuse: Refuse,
    changes: dict[str, int | bytes],
    error: type[BincodecError],
    says: str,
) -> None:
    lying = header(**changes)
    refuse(forge(lying, [[(b"", False, 0)] * 2], mask=b"\0" if lying[21] == 0 else None), error, says)


@pytest.mark.usefixtures("unasked")
def test_a_model_that_nobody_has(header: Forge, forge: Forge) -> None:
    with pytest.raises(UnknownModel, match="0000000000000000"):
        bincodec.decompress(forge(header(fingerprint=bytes(8)), [[(b"", False, 0)] * 2]))


@pytest.mark.parametrize("size", [(65535, 1024), (8000, 8000), (1, 65535), (65535, 1)])
@pytest.mark.usefixtures("unasked")
def test_a_header_alone_of_a_large_picture(header: Forge, refuse: Refuse, size: tuple[int, int]) -> None:
    for side in (16, 64):
        refuse(
            header(width=size[0], height=size[1], side=side),
            Truncated,
            "file ends at byte 36, within the index",
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quality": 0}, "decoded levels have CRC"),
        ({"quality": 51}, "decoded levels have CRC"),
        ({"grey": True}, "decoded levels have CRC"),
        ({"width": 499}, "decoded levels have CRC"),
        ({"height": 32}, "decoded levels have CRC"),
        ({"tile_side": 17}, "decoded levels have CRC"),
        ({"tile_side": 31}, "decoded levels have CRC"),
    ],
)
def test_another_header_before_levels_of_the_same_grid(
    honest: Container, refuse: Refuse, asked: list[tuple[int, int]], changes: dict[str, int], says: str
) -> None:
    """Only the CRC of the levels shows this, so the first tile is read, and again with the safest kernel."""
    header = dataclasses.replace(honest.header, **changes)
    refuse(container.write(header, honest.groups, honest.chunks), BitsMismatch, says)
    assert set(asked) == {(2, 16)}
    assert len(asked) == 2 * 7


@pytest.mark.parametrize("changes", [{"width": 512}, {"width": 257}, {"height": 16}, {"height": 33}])
def test_another_size(
    honest: Container, codec: Codec, asked: list[tuple[int, int]], changes: dict[str, int]
) -> None:
    """The number of tiles is the same. With another grid, the lengths may already show the lie."""
    header = dataclasses.replace(honest.header, **changes)
    with pytest.raises(Corrupt):
        codec.decompress(container.write(header, honest.groups, honest.chunks))
    assert len(asked) <= 2 * 7


@pytest.mark.usefixtures("unasked")
def test_fewer_layers_than_the_chunks_hold(honest: Container, refuse: Refuse) -> None:
    """Two layers take 48 bytes uncoded, and 60 bytes are not fewer."""
    header = dataclasses.replace(honest.header, layers=2)
    says = r"layers 1 to 2 of tile 0 .*: 60 bytes of coded levels, which take 48 uncoded"
    refuse(container.write(header, (2,), honest.chunks), Corrupt, says)


@pytest.mark.usefixtures("unasked")
def test_a_region_of_a_file_that_lies(codec: Codec, header: Forge, forge: Forge) -> None:
    """The header decides what is read, but it is checked as in any other case."""
    data = forge(header(width=65535, height=1024, side=64), [[(b"", True, 0)] * 64])
    with pytest.raises(Corrupt, match=r"tile 0 .*: 0 bytes of raw levels, which take 8192 uncoded"):
        codec.decompress(data, region=(0, 0, 16, 16))
    with pytest.raises(bincodec.InvalidSetting, match="region"):
        codec.decompress(data, region=(0, 0, 65536, 16))
