"""How long a study will take on an A100-80G and how much memory: an estimate, from stated numbers.

Nothing here was measured on an A100 by us. The one calibrated number is the prefill: Table 1 of the
paper gives 57.82 ms for 4.62 T multiply-adds of LLaVA-1.5-7B, which is 160 TFLOP/s, about half of
what the card promises. The rest are assumptions, written out below; `reproduce` shows the true
remaining time once it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.studies import studies_of
from sparsevlm.models.checkpoints.contents import family_and_config, sizes_of
from sparsevlm.models.checkpoints.declared import Checkpoint, declared
from sparsevlm.models.sizes import kv_bytes, prefill_flops
from sparsevlm.paper.notebooks import notebooks_of, source_path

GIB = 1024**3
OPERATIONS_PER_SECOND = 2 * 4.62e12 / 0.05782  # Table 1, first row
# Assumed: opening and resizing an image, `generate` itself; and one decoded token of one layer,
# where a 7B model waits for Python and kernel launches rather than for memory.
SECONDS_PER_SAMPLE, SECONDS_PER_LAYER_AND_TOKEN = 0.08, 0.0009
SECONDS_PER_VIDEO = 0.5  # assumed: finding and decoding eight frames
# Operations of the vision encoders for one sample, in 10^12: two per parameter and patch. CLIP-L at
# 336; the same for five tiles; with ConvNeXt-L at 768 and the mining; Qwen's at 1320 visual tokens;
# CLIP-L, eight frames.
VISION = {"llava": 0.4, "llava_next": 2.0, "mini_gemini": 2.9, "qwen2_vl": 7.1, "video_llava": 1.3}
TEXT_TOKENS = 60  # system sentence and question; TextVQA's list of read words makes it longer
TEXT_TOKENS_OF = {"textvqa": 110, "mmbench": 110, "scienceqa": 150, "seed": 100}
NEW_TOKENS = 3  # a word or a letter, and the end
NEW_TOKENS_OF = {"mmvet": 80, "tgif": 15, "msvd": 15, "msrvtt": 15, "activitynet": 15}
# Rows of benchmarks whose loader does not demand a number.
ROWS = {"mmbench": 4377, "seed": 17990}
BYTES_OF_RECORD = 1500  # per answer
GIB_RUNTIME = 2.0  # CUDA context, workspaces, activations of one sample of 2,000 tokens
FOUR_BITS = 0.56  # bytes per parameter of a quantised layer, its scales included


@dataclass(frozen=True)
class TimeEstimate:
    """What a set of runs will take: hours of one A100-80G, GPU memory at batch 1, bytes of
    records."""

    runs: int
    answers: int
    hours: float
    gib: float
    disk: int


@dataclass(frozen=True)
class Setting:
    """One run, as far as its cost goes; equal ones are run once."""

    model: str
    benchmark: str
    method: str
    tokens: int | None
    samples: int


@dataclass(frozen=True)
class Needs:
    """What some notebooks need: their evaluation runs, and checkpoints by the name in profiles."""

    notebooks: dict[str, list[Setting]]
    models: dict[str, Checkpoint]

    @property
    def settings(self) -> list[Setting]:
        """All runs, each once."""
        return list(dict.fromkeys(s for settings in self.notebooks.values() for s in settings))

    @property
    def benchmarks(self) -> list[str]:
        """All benchmarks, each once."""
        return list(dict.fromkeys(setting.benchmark for setting in self.settings))

    def gib(self, quantization: str | None = None) -> float:
        """Return the GPU memory that the largest model takes."""
        alone = [Setting(name, "", "dense", None, 1) for name in self.models]
        return max(gib(s, self.models[s.model], quantization) for s in [*alone, *self.settings])


def settings_of(profile: Profile) -> list[Setting]:
    """Return the runs of a profile narrowed to a study: dense, then methods by budget."""
    ways = [("dense", None)] + [(m, b) for m in profile.methods for b in profile.budgets]
    return [
        Setting(profile.model, benchmark, *way, samples_of(benchmark, profile))
        for benchmark in profile.benchmarks
        for way in ways
    ]


def samples_of(benchmark: str, profile: Profile) -> int:
    """Return how many questions of a benchmark are asked."""
    rows = layout_of(benchmark).rows or ROWS[benchmark]
    return min(rows, profile.samples_per_benchmark or rows)


def estimate(
    settings: Iterable[Setting], models: dict[str, Checkpoint], quantization: str | None = None
) -> TimeEstimate:
    """Add up what runs will take; one that is there twice counts once.

    With "4bit" time is left as it is: dequantising costs about what smaller weights save.
    """
    unique = list(dict.fromkeys(settings))
    answers = sum(setting.samples for setting in unique)
    seconds = sum(s.samples * seconds_per_answer(s, models[s.model]) for s in unique)
    memory = [gib(s, models[s.model], quantization) for s in unique]
    return TimeEstimate(
        len(unique), answers, seconds / 3600, max(memory, default=0.0), answers * BYTES_OF_RECORD
    )


def seconds_per_answer(setting: Setting, model: Checkpoint) -> float:
    """Return the time of one answer at batch 1."""
    tokens = setting.tokens or model.sizes.num_visual
    length = tokens + TEXT_TOKENS_OF.get(setting.benchmark, TEXT_TOKENS)
    operations = 2 * prefill_flops([length] * model.sizes.layers, model.sizes)
    prefill = (operations + VISION[model.family] * 1e12) / OPERATIONS_PER_SECOND
    new = NEW_TOKENS_OF.get(setting.benchmark, NEW_TOKENS)
    decode = new * model.sizes.layers * SECONDS_PER_LAYER_AND_TOKEN
    reading = SECONDS_PER_VIDEO if model.family == "video_llava" else 0.0
    return SECONDS_PER_SAMPLE + prefill + decode + reading


def gib(setting: Setting, model: Checkpoint, quantization: str | None = None) -> float:
    """Return the GPU memory of one run at batch 1: weights, keys and values, the rest."""
    sizes = model.sizes
    weights = 2.0 * model.parameters
    if quantization:
        half = 2 * sizes.hidden * (sizes.intermediate * 3 + sizes.hidden * 4)
        linear = half / 2 * sizes.layers
        weights += linear * (FOUR_BITS - 2)
    length = sizes.num_visual + 200 + NEW_TOKENS_OF.get(setting.benchmark, NEW_TOKENS)
    cache = kv_bytes([length] * sizes.layers, sizes)
    return (weights + cache) / GIB + GIB_RUNTIME


def needs_of(profile: Profile, notebooks: Sequence[str] = ()) -> Needs:
    """Return what notebooks need; none means all of the profile.

    Raises
    ------
    ValueError
        There is no such notebook, or it belongs to another profile.
    CheckpointError
        The model is a folder that holds no checkpoint.
    """
    names = dict.fromkeys(notebooks or notebooks_of(profile.name))
    asking = [name for name in names if "page.profile" in source_path(name).read_text("utf-8")]
    settings = {
        name: [s for study in studies_of(name) for s in settings_of(profile.for_study(study))]
        for name in names
    }
    used = [s.model for runs in settings.values() for s in runs]
    used += [profile.model for name in asking if not settings[name]]
    return Needs(settings, {name: checkpoint_of(name) for name in dict.fromkeys(used)})


def checkpoint_of(name: str) -> Checkpoint:
    """Return a checkpoint of the table, or of a folder as far as its files say what it is.

    Raises
    ------
    CheckpointError
        The folder holds no checkpoint that can be loaded.
    """
    if known := declared(name):
        return known
    weights = sum(path.stat().st_size for path in Path(name).glob("*.safetensors"))
    family, _ = family_and_config(name)
    return Checkpoint(name, name, family, "float16", weights // 2, sizes_of(name), ())
