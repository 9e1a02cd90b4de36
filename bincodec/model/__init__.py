"""A model: its architecture, its networks (in floating point and in exact integers), and its file."""
