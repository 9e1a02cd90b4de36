"""The post-filter: a small filter that the encoder fits to each picture and stores in its file."""
