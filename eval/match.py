"""The setting at which a codec comes closest to a given number of bytes."""

from dataclasses import dataclass

from bincodec.eval.peers import Encoded, Peer, Pixels


@dataclass(frozen=True)
class Match:
    """A setting and what it gives."""

    setting: int
    encoded: Encoded


def nearest(peer: Peer, pixels: Pixels, size: int, *, at_most: bool = False) -> Match:
    """The setting whose file comes nearest to `size` bytes; with `at_most`, the nearest that is no larger.

    Sizes are taken to rise with the setting. Where even the lowest setting is too large, it is the answer.
    The lowest and the highest are tried last, where they matter at all: one that fails leaves its neighbour.

    Raises:
        Exception: what the codec raises at another setting, or where nothing is left to answer with.
    """
    lowest, highest = peer.limits
    data: dict[int, bytes] = {}
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        data[middle] = peer.encode(pixels, middle)
        if len(data[middle]) <= size:
            lowest = middle
        else:
            highest = middle
    ends = (lowest, highest)
    for setting in ends:
        if setting not in data:
            try:
                data[setting] = peer.encode(pixels, setting)
            except Exception:  # Codecs raise what they like.
                if data.keys().isdisjoint(ends):
                    raise
    both = [setting for setting in ends if setting in data]
    fitting = [setting for setting in both if len(data[setting]) <= size] or both[:1]
    setting = min(fitting if at_most else both, key=lambda candidate: abs(len(data[candidate]) - size))
    return Match(setting, Encoded(data[setting], peer.decode(data[setting])))
