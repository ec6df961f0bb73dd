"""A PNG of ours holds the pixels it was given, and other programs can read it."""

import struct
import zlib

import numpy as np
import pytest

from unrolled.views import png
from unrolled.views.colours import PUOR, colour


def test_png_holds_every_pixel():
    values = np.linspace(-1, 1, 21).reshape(3, 7)
    picture = png.heat_map(values, -1, 1, PUOR)
    chunks, at = {}, 8
    while at < len(picture):
        (size,) = struct.unpack(">I", picture[at : at + 4])
        name, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert struct.unpack(">I", picture[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + size
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 3, 8, 3, 0, 0, 0)
    pixels = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 8)[:, 1:]
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    wanted = [colour(round((v + 1) / 2 * 63) / 63, PUOR) for v in values.ravel()]
    assert np.array_equal(palette[pixels.ravel()], wanted)


def test_png_can_be_read_by_others(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the extra [plot] is not installed")
    (tmp_path / "a.png").write_bytes(png.heat_map(np.array([[0.0, 1.0]]), 0, 1, ((0, 0, 0), (255, 0, 51))))
    read = image.imread(tmp_path / "a.png")[..., :3]
    np.testing.assert_allclose(read, [[[0, 0, 0], [1, 0, 0.2]]], atol=1e-3)
