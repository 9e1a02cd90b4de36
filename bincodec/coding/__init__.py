"""The coding order, the passes that encoder, decoder and sampler share, and the mathematics of levels."""
