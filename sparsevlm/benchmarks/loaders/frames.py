"""The frames of a video: from a file, an array or a folder of images."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.models.images import Way, load_image, sample_frames

log = logging.getLogger(__name__)

Choose = Callable[[int], list[int]]  # from the number of frames to the indices of those to show

NUM_FRAMES = 8  # of every video, as Video-LLaVA takes
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")  # the first four are those of Video-LLaVA
KINDS = (*VIDEOS, ".npz", ".npy", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
KEY = "frames"  # of the array in an .npz
ALMOST = 0.9  # what a video promises follows its mean rate, and is not exact
KEPT = 8  # videos; questions about one video mostly follow each other


def read_frames(path: Path, number: int = NUM_FRAMES, way: Way = "official") -> list[Image.Image]:
    """Return frames of a video, evenly from the first to the last.

    Parameters
    ----------
    path : Path
        A video, which needs the package `av`; an animated .gif; an .npy or .npz (key "frames") with
        uint8 [frames, height, width, 3]; or a folder of images, sorted by the numbers in their
        names.
    number : int
        Of frames; a video with fewer shows some of them twice.
    way : str
        Of opening the images of a folder or a .gif, see `load_image`.

    Raises
    ------
    DataError
        There is no such video, it is damaged, or nothing here can read it.
    ImageError
        An image of its folder cannot be opened.

    Source
    ------
    Video-LLaVA reads with decord and takes `linspace(0, frames - 1, 8)`, rounded down. Difference:
    PyAV in place of decord; both decode with FFmpeg.
    """
    path = Path(path)
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise DataError(f"there is no video {path}; download it again") from None
    return list(_read(path, number, way, changed))


@lru_cache(maxsize=KEPT)
def _read(path: Path, number: int, way: Way, changed: int) -> tuple[Image.Image, ...]:
    def choose(count: int) -> list[int]:
        if count < 1:
            raise DataError(f"{path} has no frames; download it again")
        return sample_frames(range(count), number)

    suffix = path.suffix.lower()
    if path.is_dir():
        files = sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=_natural)
        return tuple(load_image(files[i], way) for i in choose(len(files)))
    if suffix not in KINDS:
        known = ", ".join(KINDS)
        raise DataError(f"{path} is none of {known}, nor a folder of pictures; convert it")
    try:
        if suffix == ".gif":
            with Image.open(path) as image:
                frames = [load_image(frame, way) for frame in ImageSequence.Iterator(image)]
            return tuple(frames[i] for i in choose(len(frames)))
        return (_of_video if suffix in VIDEOS else _of_array)(path, choose)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a broken file makes the decoders raise anything
        raise DataError(
            f"{path} is damaged or no video, or holds no array of frames ({error}); "
            "download it again"
        ) from error


def _natural(path: Path) -> list:
    """Sort "frame 10" after "frame 9"."""
    return [(len(p), p) if p.isdecimal() else (0, p) for p in re.split(r"(\d+)", path.name)]


def _of_array(path: Path, choose: Choose) -> tuple[Image.Image, ...]:
    frames = np.load(path, allow_pickle=False)
    frames = frames[KEY] if path.suffix.lower() == ".npz" else frames
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise DataError(
            f"{path} must hold uint8 [frames, height, width, 3], got {frames.dtype} "
            f"{list(frames.shape)}"
        )
    return tuple(Image.fromarray(frames[i]) for i in choose(len(frames)))


def _of_video(path: Path, choose: Choose) -> tuple[Image.Image, ...]:
    """Decode the chosen frames.

    The number of frames is that of the packets, which is quick to find; where fewer of them can be
    decoded (the end of a damaged video), the choice is made again among those that can.
    """
    if find_spec("av") is None:
        raise DataError(
            f"{path} is a video, and the package that decodes videos is missing: "
            "pip install 'sparsevlm-repro[a100]'"
        )
    wanted = choose(_packets(path))
    pictures, count = _pictures(path, set(wanted))
    if wanted[-1] >= count:
        log.warning("%s: only %d of %d frames can be decoded", path, count, wanted[-1] + 1)
        wanted = choose(count)
        pictures, _ = _pictures(path, set(wanted))
    return tuple(pictures[index] for index in wanted)


def _packets(path: Path) -> int:
    """Return how many frames are in the file; say so where it promises more than it has."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        seconds, rate = (container.duration or 0) / av.time_base, stream.average_rate or 0
        promised = stream.frames or round(seconds * rate)
        count = sum(packet.size > 0 for packet in container.demux(stream))
    if count < ALMOST * promised:
        log.warning("%s ends early: %d frames of about %d promised", path, count, promised)
    return count


def _pictures(path: Path, wanted: set[int]) -> tuple[dict[int, Image.Image], int]:
    """Return the wanted frames, and how many frames were decoded on the way to the last of them."""
    import av

    pictures, count = {}, 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        try:
            for frame in container.decode(video=0):
                if count in wanted:
                    pictures[count] = frame.to_image()
                count += 1
                if len(pictures) == len(wanted):
                    break
        except av.error.InvalidDataError:
            pass  # what came before can be shown
    return pictures, count
