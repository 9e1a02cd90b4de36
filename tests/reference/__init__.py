"""A second decoder: what docs/FORMAT.md and docs/MODEL.md say, step by step, and nothing else.

It holds the two documents to the codec: it imports NumPy and the standard library, and nothing of `bincodec`.
What it does without a sentence in one of them is a gap in the documents. Where a choice is between plain and
fast, it is plain. The modules, from the model to the file:

    errors           why a file is refused
    model_file       tensors and card of a model, and its fingerprint
    order            phases: which positions belong to which pass
    integer_network  locations and scales, in exact integers
    passes           the levels of a grid, pass by pass; what is expected of layers that are missing
    decoder_network  from levels to colours
    probability      the tables of probabilities
    range_decoder    from bytes to bits
    range_encoder    how long a payload of these bits would be
    levels           from bits to levels
    raw              levels that are not coded
    post_filter      what the encoder sends along to mend the picture
    tiles            where the tiles of a picture lie
    cursor           integers of a file
    index            which groups, extras and chunks a file has, and how long they are
    container        the file taken apart, and its checksums
    payloads         the levels of a tile
    inflate          zlib streams in payloads
    alpha            how opaque each pixel is
    metadata         colour profile, Exif and XMP
    decode           all of it together, as a command
    writing          the way back, from levels or parts to files, for the tests alone
"""
