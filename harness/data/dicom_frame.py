"""How large a packed frame of a DICOM file says that its pixels are: the file's header may say something else.

A decoder believes the frame, so that a few bytes could fill any memory.
"""

from __future__ import annotations

from harness.errors import DataError

FRAME_HEADS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Markers of JPEG (ITU-T T.81) and JPEG-LS (T.87) after which a frame's size stands."""
JPEG, JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
"""First bytes of JPEG and JPEG-LS, and of JPEG 2000 with its size (T.800)."""


def require_promised_size(packed: bytes, said: tuple[int, int]) -> None:
    """Raise `DataError` where packed pixels are of another width and height than the header says, unpacking nothing."""
    from pydicom.encaps import generate_frames

    try:
        found = read_frame_size(next(generate_frames(packed, number_of_frames=1)))
    except Exception as error:  # noqa: BLE001 - whatever damaged data make pydicom raise
        raise DataError(f"its pixels cannot be read ({type(error).__name__}); get it again") from None
    if found is not None and found != said:
        raise DataError(
            f"its header says {said[0]:,} x {said[1]:,} pixels, and its packed image {found[0]:,} x {found[1]:,}; get "
            "it again"
        )


def read_frame_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height by the first bytes of JPEG, JPEG-LS or JPEG 2000; None where they do not say it."""
    if frame.startswith(JPEG_2000):
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4]) for at in (8, 12, 16, 20))
        return right - left, bottom - top
    if not frame.startswith(JPEG):
        return None
    at = len(JPEG)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in FRAME_HEADS:
            return int.from_bytes(frame[at + 7 : at + 9]), int.from_bytes(frame[at + 5 : at + 7])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4])  # a marker may be filled up by FF
    return None
