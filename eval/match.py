"""Find the setting at which a codec comes closest to a given number of bytes."""

from dataclasses import dataclass

from bincodec.eval.peers import Encoded, Peer, Pixels


@dataclass(frozen=True)
class Match:
    """A setting, and the file and picture that it gives."""

    setting: int
    encoded: Encoded


def nearest(peer: Peer, pixels: Pixels, size: int, *, at_most: bool = False) -> Match:
    """Return the setting whose file is nearest to `size` bytes. With `at_most`, the file must not be larger.

    The search assumes that sizes rise with the setting. If the file of the lowest setting is already too
    large, that setting is returned. The lowest and the highest setting are tried last, and only if they
    matter. If one of them fails, its neighbour is returned.

    Raises:
        Exception: what the codec raises at any other setting, or if no setting is left.
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
            except Exception:  # Codecs may raise any exception.
                if data.keys().isdisjoint(ends):
                    raise
    both = [setting for setting in ends if setting in data]
    fitting = [setting for setting in both if len(data[setting]) <= size] or both[:1]
    setting = min(fitting if at_most else both, key=lambda candidate: abs(len(data[candidate]) - size))
    return Match(setting, Encoded(data[setting], peer.decode(data[setting])))
