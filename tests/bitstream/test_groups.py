"""Which layers a writer puts into one chunk (FORMAT, "Grouping")."""

from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.stream import GROUP_BYTES, group_layers


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.integers(1, 50))
def test_groups_end_where_the_format_says(bits: list[int], tiles: int) -> None:
    """The n-th group ends with the layer that reaches n times 2048 bytes a tile. The last has the rest."""
    groups = group_layers(bits, tiles)
    assert sum(groups) == len(bits)
    assert min(groups) > 0
    start = 0
    for number, size in enumerate(groups, 1):
        enough = 8 * GROUP_BYTES * tiles * number
        taken = bits[start : start + size]
        start += size
        assert sum(taken[:-1]) < enough
        assert sum(taken) >= enough or start == len(bits)


def test_groups_by_hand() -> None:
    one = 8 * GROUP_BYTES
    assert group_layers([one - 1, 1, 2 * one, 1], 1) == (2, 1, 1)
    assert group_layers([one], 1) == (1,)
    assert group_layers([one, one, one, 3 * one], 1) == (1, 2, 1)
    assert group_layers([one, one], 2) == (2,)
    assert group_layers([one - 1], 1) == (1,)
