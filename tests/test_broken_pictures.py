"""One damaged or missing picture: all else is answered, and a repaired one costs one answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import BytesIO

import pytest
from executing import execute_run
from PIL import Image
from synthetic import write_synthetic
from test_images import BROKEN, ODD
from tiny_checkpoints import save_tiny

from sparsevlm.benchmarks import Sample
from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.benchmarks.loaders import layout_of
from sparsevlm.evaluation import backends, workers
from sparsevlm.evaluation.backends import CheckpointBackend
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.failures import SHOWN, OpenSamplesError
from sparsevlm.evaluation.results.store import RunError, Store
from sparsevlm.evaluation.runs import execute_runs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    save_tiny("llava", folder)
    return folder


@pytest.fixture
def source(tmp_path):
    """Three pictures with questions of POPE; nothing of them is remembered by this process."""
    write_synthetic("pope", tmp_path / "data" / layout_of("pope").folder, n=6)
    forget()
    yield CheckpointBackend(str(tmp_path / "data"), quantization=None, complete=False)
    forget()


def forget():
    """What a new process does not know."""
    backends._file_digest.cache_clear()
    backends._all_samples.cache_clear()
    backends.versioned_samples.cache_clear()


@pytest.fixture
def profile(checkpoint):
    return replace(
        get_profile("mini"), model=str(checkpoint), benchmarks=("pope",), samples_per_benchmark=6,
        methods=("sparsevlm",), budgets=(40,), batch=2, max_new_tokens=2,
    )  # fmt: skip


def execute(run, store, source):
    """Run a run as a new process does; returns how many answers it gave."""
    forget()
    done = []
    execute_run(run, store, source, done.append)
    return sum(done[1:])


def result(store, run):
    return store.path(run.id).read_bytes()


def test_a_picture_that_vanishes_is_named_and_asked_about_when_it_is_back(
    source, profile, tmp_path
):
    store, undisturbed = Store(tmp_path / "store"), Store(tmp_path / "undisturbed")
    _, run = plan_runs(profile, backend=source, store=store)
    execute(run, undisturbed, source)
    samples = source.samples(profile.model, "pope", 6, 0)
    path = tmp_path / "data" / samples[2].media
    concerned = {sample.id for sample in samples if sample.media == samples[2].media}
    kept = path.read_bytes()
    workers._samples(source, run, store)  # the process has begun
    path.unlink()
    with pytest.raises(OpenSamplesError) as error:
        execute_run(run, store, source, lambda n: None)
    message = str(error.value)
    assert f"sample {samples[2].id} ({samples[2].media}): no image at {path}" in message
    ((_, failures),) = error.value.runs
    assert {failure.id for failure in failures} == concerned
    assert not store.has(run)
    journal = store.path(run.id, "jsonl").read_text().splitlines()
    assert sum('"prediction"' in line for line in journal) == 6 - len(concerned)

    path.write_bytes(kept)
    assert execute(run, store, source) == len(concerned)
    assert result(store, run) == result(undisturbed, run)


def test_a_truncated_picture_can_be_repaired_and_costs_only_its_own_answers(
    source, profile, tmp_path
):
    """The repaired picture makes other runs; they take over what is about the other pictures.

    The first run is a real one, with a worker process.
    """
    store, undisturbed = Store(tmp_path / "store"), Store(tmp_path / "undisturbed")
    execute(good := plan_runs(profile, backend=source, store=undisturbed)[1], undisturbed, source)
    samples = source.samples(profile.model, "pope", 6, 0)
    path = tmp_path / "data" / samples[0].media
    concerned = {sample.id for sample in samples if sample.media == samples[0].media}
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    forget()
    runs = plan_runs(profile, backend=source, store=store)
    failed = execute_runs(runs, store, backend=source)
    assert list(failed) == [f"sample {name} ({samples[0].media})" for name in sorted(concerned)]
    for reason in failed.values():
        assert f"the image {path} is damaged or truncated" in reason
        assert reason.endswith("[2 runs, first pope, dense]")
    run = runs[1]
    assert not store.has(run)
    assert store.path(run.id, "jsonl").read_text().count('"prediction"') == 6 - len(concerned)

    path.write_bytes(kept)
    with pytest.raises(RunError, match="have changed .*run the same command again"):
        execute(run, store, source)
    dense, again = plan_runs(profile, backend=source, store=store)
    assert again == good != run
    assert execute(dense, store, source) == execute(again, store, source) == len(concerned)
    assert result(store, again) == result(undisturbed, good)
    names = {path.name for path in store.path(again.id).parent.iterdir()}
    assert names == {f"{c.id}.{suffix}" for c in (dense, again) for suffix in ("json", "run.json")}
    sessions = store.load(again).sessions
    assert [event["id"] for event in sessions[0]["events"]] == sorted(concerned)
    run_file = json.loads(store.path(again.id, "run.json").read_text())
    assert [answer["batch"] for answer in run_file["answers"]] == [2] * 6


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow
def test_every_kind_of_broken_picture_costs_its_own_questions_and_nothing_else(
    checkpoint, profile, tmp_path
):
    """In a real run, with a worker process: what is left open is named, counted and finished later.

    A picture of the same name may be a bomb, a text, a folder, half a file or a line of 65,500
    pixels; that one can be asked about.
    """
    data, store = tmp_path / "data", Store(tmp_path / "store")
    folder = write_synthetic("gqa", data / layout_of("gqa").folder, n=24)
    line = BytesIO()
    Image.new("RGB", (65_500, 2), "red").save(line, "JPEG")
    contents = {**{name: case.content for name, case in BROKEN.items()}, "line": line.getvalue()}
    *pictures, last = sorted((folder / "data/images").iterdir())
    kept = {path: path.read_bytes() for path in (*pictures[: len(contents)], last)}
    for path, content in zip(pictures, contents.values(), strict=False):
        path.write_bytes(content)
    last.unlink()
    last.mkdir()
    wrong = {str(path.relative_to(data)) for path in (*pictures[: len(BROKEN)], last)}
    source = CheckpointBackend(str(data), quantization=None, complete=False)
    forget()
    gqa = replace(profile, benchmarks=("gqa",), samples_per_benchmark=24)
    runs = plan_runs(gqa, backend=source, store=store)
    failed = execute_runs(runs, store, backend=source)
    open_ids = {s.id for s in source.samples(gqa.model, "gqa", 24, 0) if s.media in wrong}
    assert len(open_ids) == len(wrong) == len(BROKEN) + 1
    assert len(wrong) <= SHOWN and {name.split()[1] for name in failed} == open_ids
    for name in failed:
        assert re.match(r"the image (\S+) ", failed[name])[1].endswith(name.split("(")[1][:-1])
    for run in runs:
        assert not store.has(run)
        rows = store.path(run.id, "jsonl").read_text().splitlines()
        answered = {row["id"] for row in map(json.loads, rows) if "prediction" in row}
        assert len(answered) == 24 - len(wrong) and not answered & open_ids

    last.rmdir()
    for path, content in kept.items():
        path.write_bytes(content)
    with pytest.raises(RunError, match="have changed .*run the same command again"):
        execute(runs[0], store, source)
    again = plan_runs(gqa, backend=source, store=store)
    assert execute_runs(again, store, backend=source) == {}
    for run in again:
        first, *_ = store.load(run).sessions
        assert len(first["events"]) == len(wrong)


def test_a_broken_video_costs_its_own_questions(tmp_path):
    """No array, an array that is cut off, a folder with a damaged frame, an empty folder."""
    save_tiny("video_llava", tmp_path / "model")
    data = tmp_path / "data"
    folder = write_synthetic("msvd", data / layout_of("msvd").folder, n=8)
    videos = sorted(
        (folder / datasets()["msvd"].videos.folder).iterdir(), key=lambda path: path.suffix
    )
    *folders, none, cut = [*[path for path in videos if path.is_dir()][:2], *videos[-2:]]
    none.write_bytes(b"no video")
    cut.write_bytes(cut.read_bytes()[:-2000])
    sorted(folders[0].iterdir())[0].write_bytes(b"no picture")
    for frame in folders[1].iterdir():
        frame.unlink()
    profile = replace(
        get_profile("mini"), model=str(tmp_path / "model"), benchmarks=("msvd",), batch=2,
        samples_per_benchmark=8, methods=("sparsevlm",), budgets=(40,), max_new_tokens=2,
    )  # fmt: skip
    source = CheckpointBackend(str(data), quantization=None, complete=False)
    store = Store(tmp_path / "store")
    forget()
    dense, _ = plan_runs(profile, backend=source, store=store)
    with pytest.raises(OpenSamplesError) as error:
        execute_run(dense, store, source, lambda n: None)
    ((_, failures),) = error.value.runs
    samples = source.samples(profile.model, "msvd", 8, 0)
    broken = {sample.id for sample in samples if data / sample.media in (*folders, none, cut)}
    assert {failure.id for failure in failures} == broken and 4 <= len(broken) < len(samples)
    assert all(str(data / failure.media) in failure.reason for failure in failures)


def test_a_benchmarks_picture_reaches_the_model_as_the_scripts_read_it(tmp_path):
    """Also an animated .gif among the pictures of a benchmark: its first image, not a video."""
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    pictures = {"a.gif": "red"}
    for name, (image, options, _) in ODD.items():
        image.save(tmp_path / name, **options)
        pictures[name] = image
    source = CheckpointBackend(str(tmp_path), quantization=None, complete=False)
    samples = [Sample(name, name, "What?", "yes") for name in pictures]
    for sample, shown in zip(samples, source.media("llava-7b", samples), strict=True):
        (image,) = shown
        official = Image.open(tmp_path / sample.media).convert("RGB")
        assert (image.size, image.tobytes()) == (official.size, official.tobytes()), sample.media


def test_a_picture_that_may_not_be_read_costs_its_own_questions(
    source, profile, tmp_path, monkeypatch
):
    path = tmp_path / "data" / source.samples(profile.model, "pope", 6, 0)[0].media
    digest = backends.content_digest

    def refused(part, kind="sha256"):
        if part == path:
            raise PermissionError(13, "Permission denied", str(path))
        return digest(part, kind)

    monkeypatch.setattr(backends, "content_digest", refused)
    forget()
    assert len(plan_runs(profile, backend=source, store=Store(tmp_path / "store"))) == 2
