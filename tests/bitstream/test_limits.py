import pytest

from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits, checked_limits


def test_limits_are_taken_as_they_are() -> None:
    limits = Limits(pixels=1)
    assert checked_limits(limits) is limits
    assert checked_limits(DEFAULT_LIMITS) == Limits(64 * 2**20, 65535, 2**24, 2**22)


@pytest.mark.parametrize("limits", [None, 1000, {"pixels": 1000}, Limits])
def test_anything_else_is_refused_at_once(limits: object) -> None:
    with pytest.raises(TypeError, match=f"limits must be a Limits, not {type(limits).__name__}"):
        checked_limits(limits)


def test_limits_cannot_be_changed_behind_a_reader_s_back() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_LIMITS.pixels = 1  # type: ignore[misc]
