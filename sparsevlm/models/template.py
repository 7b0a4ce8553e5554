"""How a conversation is written, and what a question shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

Media = Sequence[Image.Image]  # of one question: none, one image, or the frames of a video in order
IMAGE = "<image>"  # where a question that comes with `Images` has a place for one


class Images(tuple[Image.Image, ...]):
    """Several images of one question; without it, more than one are the frames of a video.

    They stand in front of the question, or where it says ``<image>``, as often as there are images.
    """


def is_video(media: Media) -> bool:
    """Whether images are the frames of a video."""
    return len(media) > 1 and not isinstance(media, Images)


@dataclass(frozen=True)
class Template:
    """How a conversation of one question is written.

    Attributes
    ----------
    before, after : str
        What stands around the question.
    image, video : str or None
        Placeholder and separator ahead of the question; None where the model takes no such input.
    text_only : bool
        Whether a question may come without an image.
    end, again : str
        The token that ends an answer, and what stands between it and a further question.
    word_mark : str
        What SentencePiece puts before the words of this language model, and before the first one of
        every text; "" where it does not, or where the tokenizer is another one.
    """

    before: str
    after: str
    image: str | None = "<image>\n"
    video: str | None = None
    text_only: bool = True
    end: str = "</s>"
    again: str = "USER: "
    word_mark: str = ""

    def lead(self, num_images: int, several: bool = False) -> str:
        """Return what stands between `before` and the question.

        Parameters
        ----------
        num_images
            None, one, or more.
        several
            Whether more than one are `Images`: their placeholders stand side by side.

        Raises
        ------
        ValueError
            The model does not take so many images.
        """
        nothing = "" if self.text_only else None
        if several and num_images > 1 and self.image:
            gap = self.image[len(self.mark) :]
            return (" " if gap else "").join([self.mark] * num_images) + gap
        lead = self.image if num_images else nothing
        lead = None if several and num_images > 1 else self.video if num_images > 1 else lead
        if lead is None:
            kinds = {
                "no image": nothing, "one image": self.image, "the frames of a video": self.video,
            }  # fmt: skip
            known = " or ".join(kind for kind, text in kinds.items() if text is not None)
            way = "" if several or not self.image else "; several images are Images([...])"
            raise ValueError(
                f"this model takes {known} with a question, got {num_images} images{way}"
            )
        return lead

    @property
    def mark(self) -> str:
        """Placeholder of an image, without what separates it from the question."""
        return (self.image or "").rstrip()
