"""From pixels to levels: analysis by the encoder's network, and the search for better levels."""
