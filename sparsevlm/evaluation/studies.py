"""What every table and figure that is made of runs measures, profile by profile.

A study is a profile narrowed to one table: `Profile.for_study` replaces the fields that the study
declares and keeps the rest, so everything that takes a profile takes a study of it.
"""

from __future__ import annotations

from dataclasses import dataclass

# Every notebook that is made of cells, and the studies whose cells it reads.
NOTEBOOK_STUDIES: dict[str, tuple[str, ...]] = {
    "table_1": ("table_1",),
    "table_1_v1": ("table_1_v1",),
    "table_2": ("table_2",),
    "table_3": ("table_3",),
    "table_4": ("table_4",),
    "figure_4": ("figure_4",),
    "figure_5": ("figure_5",),
    "figure_8": ("table_1",),
    "figure_9": ("figure_9",),
    "figure_10": ("figure_10",),
    "variants": ("variants",),
    "controls": ("controls",),
    "miniature": (
        "table_1",
        "table_1_deep",
        "moved_deep",
        "figure_4",
        "moved_gemini",
        "table_3",
        "table_2",
    ),
}
PAPER_METHODS = ("sparsevlm", "fastv", "pdrop", "tome")


@dataclass(frozen=True)
class Study:
    """The fields of `Profile` that a study replaces; None keeps the profile's.

    Attributes
    ----------
    benchmarks, methods, budgets
        As in `Profile`.
    models : dict of str
        By profile: the model that answers, where it is not the profile's.
    samples : dict of int
        By profile: samples per benchmark, where they are not the profile's.
    dtypes : dict of str
        By profile: the dtype, where it is not the profile's.
    markers : dict of str
        By profile: the line that its figures show, where it is not the profile's.
    moved_cuts : bool
        Whether methods cut after the layers of `moved_cuts`, and not at fractions of depth.
    only : str
        The one profile that it belongs to; "" for all.
    """

    benchmarks: tuple[str, ...]
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    models: dict[str, str]
    samples: dict[str, int]
    dtypes: dict[str, str]
    markers: dict[str, str]
    moved_cuts: bool = False
    only: str = ""


def _study(
    benchmarks: tuple[str, ...],
    methods: tuple[str, ...],
    budgets: tuple[int, ...],
    *,
    models: dict[str, str] | None = None,
    samples: dict[str, int] | None = None,
    dtypes: dict[str, str] | None = None,
    of: str = "LLaVA-1.5",
    moved_cuts: bool = False,
    only: str = "",
) -> Study:
    marker = f"miniature model, not {of}"
    return Study(
        benchmarks, methods, budgets, models or {}, samples or {}, dtypes or {},
        {"mini": marker}, moved_cuts, only,
    )  # fmt: skip


_TABLE_1 = ("gqa", "mmbench", "mme", "pope", "scienceqa", "seed", "textvqa", "mmvet")
STUDIES: dict[str, Study] = {
    "table_1": _study(_TABLE_1, (*PAPER_METHODS, "random"), (192, 128, 64)),
    # The deeper miniature on the same questions. It is grown: every second layer was put in, and
    # the paper's fractions of depth put all three cuts behind such layers.
    "table_1_deep": _study(
        _TABLE_1, ("sparsevlm", "fastv", "random"), (192, 128, 64),
        models={"mini": "mini-llava-16"}, samples={"mini": 64}, only="mini",
    ),
    # The same with cuts after layers that read the picture (`moved_cuts`): is it the method that
    # fails there, or the layer that it asks?
    "moved_deep": _study(
        _TABLE_1, ("sparsevlm", "random"), (192, 128, 64),
        models={"mini": "mini-llava-16"}, samples={"mini": 64}, moved_cuts=True, only="mini",
    ),
    # The preprint's other two benchmarks, VQAv2 and ConBench, have no counterpart here.
    "table_1_v1": _study(
        ("gqa", "mmbench", "mme", "pope", "scienceqa", "textvqa"),
        ("sparsevlm-v1.0", "fastv", "tome"),
        (192, 128, 64),
    ),
    "table_2": _study(
        ("mmbench", "pope", "textvqa"),
        ("sparsevlm", "fastv", "random"),
        (600, 500, 400),
        models={"mini": "mini-qwen2-vl", "a100": "Qwen/Qwen2-VL-7B-Instruct"},
        samples={"mini": 64},
        dtypes={"a100": "bfloat16"},
        of="Qwen2-VL",
    ),
    "table_3": _study(
        ("tgif", "msvd", "msrvtt", "activitynet"),
        ("sparsevlm", "sparsevlm-video", "fastv", "random"),
        (194,),
        models={"mini": "mini-video-llava", "a100": "LanguageBind/Video-LLaVA-7B-hf"},
        samples={"mini": 48, "a100": 1000},
        of="Video-LLaVA",
    ),
    "table_4": _study(
        ("gqa", "pope"),
        ("sparsevlm", "sparsevlm-no-recycling", "sparsevlm-not-refilled"),
        (192, 128, 96, 64),
    ),
    "figure_4": _study(
        ("pope", "textvqa", "gqa"),
        ("sparsevlm", "fastv", "tome", "random"),
        (256, 192, 128, 96, 64),
        models={"mini": "mini-gemini", "a100": "YanweiLi/MGM-7B"},
        samples={"mini": 64},
        of="Mini-Gemini",
    ),
    "moved_gemini": _study(
        ("pope", "textvqa", "gqa"),
        ("sparsevlm", "random"),
        (256, 192, 128, 96, 64),
        models={"mini": "mini-gemini"},
        samples={"mini": 64},
        of="Mini-Gemini",
        moved_cuts=True, only="mini",
    ),
    # Figures 9 and 10 are panels of Figure 4 and Table 3 with more budgets; what they share is one
    # run, for its id does not depend on the study.
    "figure_9": _study(
        ("pope", "textvqa", "mme"),
        ("sparsevlm", "random"),
        (256, 192, 128, 96, 64),
        models={"mini": "mini-gemini", "a100": "YanweiLi/MGM-7B"},
        samples={"mini": 64},
        of="Mini-Gemini",
    ),
    "figure_10": _study(
        ("tgif", "msvd"),
        ("sparsevlm", "random"),
        (388, 291, 194, 145),
        models={"mini": "mini-video-llava", "a100": "LanguageBind/Video-LLaVA-7B-hf"},
        samples={"mini": 48, "a100": 1000},
        of="Video-LLaVA",
    ),
    # Which methods separate on a miniature, at its smallest budget and with 2,000 questions (1,000
    # where an answer takes longest). Too long for every run, so no notebook asks for these cells
    # (`separation`).
    "apart_llava": _study(
        _TABLE_1, (*PAPER_METHODS, "random"), (64,), samples={"mini": 256}, only="mini"
    ),
    "apart_gemini": _study(
        ("pope", "textvqa", "gqa"), ("sparsevlm", "fastv", "random"), (64,),
        models={"mini": "mini-gemini"}, samples={"mini": 672}, of="Mini-Gemini", only="mini",
    ),
    "apart_gemini_moved": _study(
        ("pope", "textvqa", "gqa"), ("sparsevlm", "random"), (64,),
        models={"mini": "mini-gemini"}, samples={"mini": 672}, of="Mini-Gemini",
        moved_cuts=True, only="mini",
    ),
    "apart_video": _study(
        ("tgif", "msvd", "msrvtt", "activitynet"), ("sparsevlm", "fastv", "random"), (194,),
        models={"mini": "mini-video-llava"}, samples={"mini": 512}, of="Video-LLaVA", only="mini",
    ),
    "apart_qwen": _study(
        ("mmbench", "pope", "textvqa"), ("sparsevlm", "fastv", "random"), (400,),
        models={"mini": "mini-qwen2-vl"}, samples={"mini": 336}, of="Qwen2-VL", only="mini",
    ),
    "figure_5": _study(
        ("textvqa", "pope"),
        ("sparsevlm", "sparsevlm-all-text", "sparsevlm-all-tokens"),
        (64,),
    ),
    "variants": _study(
        ("gqa", "pope", "textvqa"),
        ("sparsevlm", "sparsevlm-paper", "sparsevlm-v1.0", "sparsevlm-plus"),
        (192, 128, 64),
    ),
    "controls": _study(
        ("gqa", "mmbench", "pope", "textvqa"),
        ("sparsevlm", "sparsevlm-all-text", "random", "uniform", "pooled"),
        (192, 128, 64),
    ),
}  # fmt: skip


def studies_of(notebook: str) -> tuple[str, ...]:
    """The studies whose cells a notebook reads; none for one that computes what it shows."""
    return NOTEBOOK_STUDIES.get(notebook, ())


def belongs(notebook: str, profile: str) -> bool:
    """Whether a notebook can be run with a profile: all its studies belong to it."""
    return all(STUDIES[study].only in ("", profile) for study in studies_of(notebook))
