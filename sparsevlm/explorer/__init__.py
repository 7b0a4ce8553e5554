"""See why a patch was kept, dropped or recycled.

`explore` opens it in a notebook. What one question gave is an `Exploration` (`exploration`); a
`session` asks and remembers; `engine` and `adjust` ask the model; `token_status`, `color_map`,
`geometry` and `scene` say what is to be seen; `lesson` shows it in five steps; `app` is the
widget and `static` the same as a figure; `share` writes a folder to send. Looking at bundled
answers needs no torch.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsevlm.evaluation.profiles import Profile
    from sparsevlm.explorer.app import Explorer

__all__ = ["explore", "is_live"]


def explore(
    profile: Profile | str = "mini",
    *,
    model: str = "",
    image: str = "",
    question: str = "",
    method: str = "sparsevlm",
    tokens: int | None = None,
    session: str = "",
) -> Explorer:
    """Open the explorer.

    Parameters
    ----------
    profile
        Which model answers, and where it runs; a name of `data/profiles.yaml`.
    model
        A bundled model, a checkpoint's name or a folder, in place of the profile's.
    image
        Name of a sample image (`sample_images`), or path of an image or video; "" for the first
        sample of the kind that the model was made for.
    question
        Default: the first one listed with the sample.
    method
        A key of `METHODS`.
    tokens
        The budget; ``None``: a ninth of the visual tokens of the model's nominal image, 64 of 576.
    session
        File of an earlier session (`share.save_share`), opened as it was left.

    Returns
    -------
    Explorer
        Display it by naming it last in a cell. `Explorer.figure` is the same without a browser.

    Raises
    ------
    ValueError
        For an unknown profile, sample or method, or a file that is no session.
    FileNotFoundError
        For an image or session that does not exist.
    """
    from sparsevlm.analysis.sample_images import first_sample
    from sparsevlm.explorer.app import Explorer
    from sparsevlm.explorer.exploration import Query
    from sparsevlm.explorer.session import ExplorerSession
    from sparsevlm.methods import METHODS

    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    opened = ExplorerSession(profile, model)
    if session:
        return Explorer.resumed(opened, [one.query for one in opened.load(session).explorations])
    sample = opened.put(image or first_sample(opened.profile.model)).sample
    if not question and sample is None:
        raise ValueError(f"give a question to ask about {image}")
    if tokens is None:
        tokens = opened.sizes().num_visual // 9
    return Explorer(opened, Query(question or sample.questions[0], method, tokens))


def is_live() -> bool:
    """Whether someone can use a widget here: JupyterLab, Notebook, Voila, VS Code or Colab.

    A kernel that papermill or nbconvert started has no page to show it on; there the figure is
    what remains.
    """
    server = "JPY_SESSION_NAME" in os.environ or "voila" in os.environ.get("SERVER_SOFTWARE", "")
    main = vars(sys.modules["__main__"])
    return server or "__vsc_ipynb_file__" in main or "google.colab" in sys.modules
