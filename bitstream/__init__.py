"""The `.bld` file, read and written without a model: `docs/FORMAT.md` in code.

errors       what can be wrong with a file
limits       how much a reader is willing to spend on one
header       the first 36 bytes
tiles        the latent grid, and how it is cut
index        how long everything is, and how layers are grouped
repair       header and index with a single wrong bit
container    all of a file that needs no model: index, chunks, checksums
probability  the frozen integer tables that give a decision its probability
levels       levels as binary decisions: the one loop that encodes, decodes and measures
coder        the range coder
raw          levels without a coder, for what cannot be compressed
deflate      bytes by zlib, unpacked within a limit
plane        a plane of alpha from coarse to fine
alpha        alpha as a payload: a plane, or what zlib makes of it
extras       alpha, colour profile, Exif and XMP as extras
stream       the levels of a tile in, its chunks out, and back

This package knows no network, no image library and no model; `header` and `container` need nothing but the
standard library.
"""
