"""Contact sheets: where each picture lies, and the line between them."""

from PIL import Image

from bincodec.io.contact_sheet import contact_sheet


def test_pictures_lie_row_by_row() -> None:
    colours = ["red", "lime", "blue"]
    sheet = contact_sheet([Image.new("RGB", (5, 3), colour) for colour in colours], 2)
    assert sheet.size == (12, 8)
    corners = [sheet.getpixel(at) for at in ((0, 0), (7, 0), (0, 5), (7, 5), (5, 0))]
    white = (255, 255, 255)
    assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255), white, white]
