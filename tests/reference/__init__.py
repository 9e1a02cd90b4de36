"""A second decoder, which does exactly what docs/FORMAT.md and docs/MODEL.md say, step by step.

It checks the two documents against the codec. It imports NumPy and the standard library, and nothing of
`bincodec`. Anything that it does without a sentence in one of the documents is a gap in the documents. It is
written to be plain, not fast. These are its modules, from the model to the file:

    errors           why a file is refused
    model_file       tensors and card of a model, and its fingerprint
    order            phases: which positions belong to which pass
    integer_network  locations and scales, in exact integers
    passes           the levels of a grid, pass by pass, and the expectation of missing layers
    decoder_network  from levels to colours
    probability      the tables of probabilities
    range_decoder    from bytes to bits
    range_encoder    from bits to bytes, for the length of a payload
    levels           from bits to levels
    raw              levels that are not coded
    post_filter      the filter that the encoder stores for the decoded picture
    tiles            the places of the tiles of a picture
    cursor           the integers of a file
    index            the groups, extras and chunks of a file, and their lengths
    container        the parts of a file, and their checksums
    payloads         the levels of a tile
    inflate          zlib streams in payloads
    alpha            how opaque each pixel is
    metadata         colour profile, Exif and XMP
    decode           all of it together, as a command
    writing          the way back, from levels or parts to files, for the tests only
"""
