"""Read and write `.bld` files without a model. This package implements `docs/FORMAT.md`.

errors       the errors that a file can cause
limits       how large a file may be
header       the first 36 bytes
tiles        the latent grid, and how it is cut into tiles
index        the length of everything in a file, and how layers are grouped
repair       correct a single wrong bit in the header or in the index
container    the parts of a file that need no model: index, chunks, checksums
probability  the frozen integer tables of probabilities
levels       levels as binary decisions: one loop encodes, decodes and measures them
coder        the range coder
raw          store levels without a coder if coding would not make them smaller
deflate      compress bytes with zlib, and unpack them within a limit
plane        code a plane of alpha from coarse to fine
alpha        the payload of alpha: a coded plane, or one compressed with zlib
extras       alpha, colour profile, Exif and XMP as extras of a file
stream       turn the levels of a tile into chunks, and chunks into levels

The package does not depend on a network, an image library or a model. `header` and `container` need only the
standard library.
"""
