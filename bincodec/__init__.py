"""A learned photo codec: photographs in, small `.bld` files out, the same bits on every machine.

Names are loaded on first use, so that `import bincodec` and `read_header` need neither torch nor a model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bincodec.api import compress, decompress
    from bincodec.arguments import InvalidSetting
    from bincodec.bitstream.errors import (
        BincodecError,
        BitsMismatch,
        Corrupt,
        NotBld,
        TooLarge,
        Truncated,
        Unsupported,
        WrongModel,
    )
    from bincodec.bitstream.header import VERSION as FORMAT_VERSION
    from bincodec.code import BinaryCode
    from bincodec.codec import Codec, VerificationFailed
    from bincodec.io.files import Unreadable, read_header
    from bincodec.io.images import ImageError

__version__ = "0.1.0"

__all__ = [
    "FORMAT_VERSION",
    "BinaryCode",
    "BincodecError",
    "BitsMismatch",
    "Codec",
    "Corrupt",
    "ImageError",
    "InvalidSetting",
    "NotBld",
    "TooLarge",
    "Truncated",
    "Unreadable",
    "Unsupported",
    "VerificationFailed",
    "WrongModel",
    "__version__",
    "compress",
    "decompress",
    "read_header",
]

# Public name -> (module, name there).
_HOMES = {
    "FORMAT_VERSION": ("bincodec.bitstream.header", "VERSION"),
    "BinaryCode": ("bincodec.code", "BinaryCode"),
    "BincodecError": ("bincodec.bitstream.errors", "BincodecError"),
    "BitsMismatch": ("bincodec.bitstream.errors", "BitsMismatch"),
    "Codec": ("bincodec.codec", "Codec"),
    "Corrupt": ("bincodec.bitstream.errors", "Corrupt"),
    "ImageError": ("bincodec.io.images", "ImageError"),
    "InvalidSetting": ("bincodec.arguments", "InvalidSetting"),
    "NotBld": ("bincodec.bitstream.errors", "NotBld"),
    "TooLarge": ("bincodec.bitstream.errors", "TooLarge"),
    "Truncated": ("bincodec.bitstream.errors", "Truncated"),
    "Unreadable": ("bincodec.io.files", "Unreadable"),
    "Unsupported": ("bincodec.bitstream.errors", "Unsupported"),
    "VerificationFailed": ("bincodec.codec", "VerificationFailed"),
    "WrongModel": ("bincodec.bitstream.errors", "WrongModel"),
    "compress": ("bincodec.api", "compress"),
    "decompress": ("bincodec.api", "decompress"),
    "read_header": ("bincodec.io.files", "read_header"),
}


def __getattr__(name: str) -> Any:
    """Import the module that defines a public name when the name is first asked for (PEP 562)."""
    if name not in _HOMES:
        msg = f"module 'bincodec' has no attribute {name!r}"
        raise AttributeError(msg)
    module, original = _HOMES[name]
    value = getattr(import_module(module), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
