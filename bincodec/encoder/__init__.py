"""Turn pixels into levels: the analysis by the encoder's network, and the search for better levels."""
