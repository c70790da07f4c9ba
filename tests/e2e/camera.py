"""Pictures of pages: cropped to what matters, with 256 colours, so that a repository can hold them."""

import base64
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

MARGIN = 10  # pixels around what is shown
COLOURS = 256
DECODE = """async text => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const drawn = new OffscreenCanvas(image.width, image.height).getContext("2d");
  drawn.drawImage(image, 0, 0);
  const pixels = drawn.getImageData(0, 0, image.width, image.height).data;
  let found = "";
  for (let at = 0; at < pixels.length; at += 32768) found += String.fromCharCode(...pixels.subarray(at, at + 32768));
  return [image.width, image.height, btoa(found)];
}"""


def take(page: Page, file: Path, first: str = "header.top", last: str = "footer", most: int = 1200) -> None:
    """The page from one element to another, in its whole width, as a PNG file.

    :param first: where the picture begins, as a selector.
    :param last: the last element in the picture.
    :param most: pixels of height after which it is cut.
    """
    page.evaluate("scrollTo({top: 0, behavior: 'instant'}); document.activeElement?.blur()")
    page.wait_for_timeout(400)  # previews and the fading of the focus
    upper, lower = page.locator(first).first.bounding_box(), page.locator(last).last.bounding_box()
    assert upper is not None and lower is not None, (first, last)
    top = max(0.0, upper["y"] - MARGIN)
    height = min(lower["y"] + lower["height"] + MARGIN - top, most)
    width = float(page.evaluate("document.documentElement.clientWidth"))
    taken = page.screenshot(full_page=True, clip={"x": 0, "y": top, "width": width, "height": height})
    empty = page.context.new_page()  # without the pages' policy, which admits no blob
    width, height, pixels = empty.evaluate(DECODE, base64.b64encode(taken).decode())
    empty.close()
    rgba = np.frombuffer(base64.b64decode(pixels), dtype=np.uint8).reshape(int(height), int(width), 4)
    file.write_bytes(indexed_png(rgba[..., :3]))


def indexed_png(rgb: NDArray[np.uint8]) -> bytes:
    """A PNG file with a palette: the most frequent colours, and the nearest of them for every other one."""
    packed = rgb.astype(np.int64) @ np.array([65536, 256, 1])
    colours, index, counts = np.unique(packed, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:COLOURS])
    channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    nearest = np.concatenate(
        [((part[:, None] - channels[kept][None]) ** 2).sum(2).argmin(1) for part in np.array_split(channels, 64)]
    )
    rows = nearest[index].reshape(packed.shape).astype(np.uint8)
    lines = np.pad(rows, ((0, 0), (1, 0)))  # each line begins with its filter: 0, none
    height, width = packed.shape
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", channels[kept].astype(np.uint8).tobytes()),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
