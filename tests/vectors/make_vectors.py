"""Write new test vectors of the format: folders of `tests/vectors/v1`, which README.md describes.

    python tests/vectors/make_vectors.py

The format is frozen, so a folder that is there is never written again. The script writes the cases that have
no folder yet.
"""

import hashlib
import json
from pathlib import Path

from vector_case import Case
from vectors_that_decode import must_decode
from vectors_that_fail import must_fail, once_broke_us

from bincodec import BinaryCode, Codec
from bincodec.bitstream import container, extras
from bincodec.bitstream.container import Memory

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "models" / "tiny-1.safetensors"
VERSION = 1
"""The major version of the format that is written."""
TOLERANCE = 1
"""The largest difference of a pixel, in steps of 0..255, because decoders are float networks."""


def levels_digest(code: BinaryCode) -> str:
    """Return the SHA-256 of all levels, one byte each, by layer, channel, row and column."""
    return hashlib.sha256(b"".join(part.tobytes() for part in code.levels)).hexdigest()


def beside(held: extras.Extras) -> dict[str, object]:
    """Return the entries of case.json for alpha (the SHA-256 of its samples) and metadata, in hexadecimal."""
    said: dict[str, object] = {}
    if held.alpha is not None:
        said["alpha_sha256"] = hashlib.sha256(held.alpha.tobytes()).hexdigest()
    metadata = {name: getattr(held, name).hex() for name in held.names if name in extras.METADATA}
    return said | ({"metadata": metadata} if metadata else {})


def write(folder: Path, case: Case, codec: Codec) -> None:
    """Write the folder of a case: file.bld, case.json, and picture.png if there is a picture."""
    folder.mkdir(parents=True)
    (folder / "file.bld").write_bytes(case.file)
    said: dict[str, object] = {
        "class": case.kind,
        "shows": case.shows,
        "bytes": len(case.file),
        "sha256": hashlib.sha256(case.file).hexdigest(),
    }
    if case.error is not None:
        said["error"] = case.error
        if case.partial is not None:
            said["partial"] = {"tile_layers": case.partial}
    else:
        code = codec.unpack(case.file)
        said |= {
            name: getattr(code, name)
            for name in ("width", "height", "quality", "layers", "grey", "tile_side", "minor_version")
        }
        said["fingerprint"] = code.fingerprint.hex()
        said["groups"] = container.read(Memory(case.file)).groups
        said["extras"] = [[f"{extra.kind:#04x}", extra.payload.hex()] for extra in code.extras]
        said["levels_sha256"] = levels_digest(code)
        said["tolerance"] = TOLERANCE
        said["packs_again"] = case.packs_again
        image = codec.decode(code)
        said |= beside(extras.read(code.extras, code.width, code.height))
        image.info.clear()
        image.save(folder / "picture.png", optimize=True)
    (folder / "case.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Write the folders that are missing."""
    target, codec = HERE / f"v{VERSION}", Codec.load(str(MODEL))
    for case in (*must_decode(codec), *must_fail(codec), *once_broke_us(codec)):
        if not (target / case.name).exists():
            write(target / case.name, case, codec)
            print(f"{case.kind} {case.name}: {len(case.file)} bytes, {case.error or 'a picture'}")


if __name__ == "__main__":
    main()
