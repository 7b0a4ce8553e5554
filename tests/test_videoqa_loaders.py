"""The video benchmarks' folders, and the frames of a video however it is kept."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image
from synthetic_videoqa import VIDEOS, write_synthetic_videos

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.benchmarks.loaders import DataError, layout_of
from sparsevlm.benchmarks.loaders.frames import read_frames
from sparsevlm.benchmarks.loaders.videoqa import read


def frames(count, side=16):
    """Frame i is grey of level 10 i, so that it can be told which ones were taken."""
    return [Image.new("RGB", (side, side), (10 * i,) * 3) for i in range(count)]


def levels(pictures):
    return [round(np.asarray(picture).mean() / 10) for picture in pictures]


# The layout


def write(folder, videos, asked, answers, files=()):
    (folder / videos).mkdir(parents=True)
    (folder / "test_q.json").write_text(json.dumps(asked))
    (folder / "test_a.json").write_text(json.dumps(answers))
    for name in files:
        (folder / videos / name).touch()


def ask(name, question, id):
    return {"video_name": name, "question": question, "question_id": id}


def test_the_official_layout_of_tgif(tmp_path):
    asked = [ask("a.b", "what runs?", 7), ask("c", "how often?", "x_8")]
    answers = [{"answer": 3, "question_id": "x_8"}, {"answer": "dog", "question_id": "7"}]
    write(tmp_path, "mp4", asked, answers, ["a.b.mp4", "a.b.gif", "c.AVI", "c.txt"])
    assert read("tgif", tmp_path) == [
        Sample("7", "mp4/a.b.mp4", "what runs?", "dog"),
        Sample("x_8", "mp4/c.AVI", "how often?", "3"),
    ]


def test_questions_are_sorted_by_their_first_word_or_their_type(tmp_path):
    asked = [ask("a", "Who sings?", "1"), ask("b", "is it red?", "2")]
    answers = [{"answer": "man", "question_id": "1", "type": 0},
               {"answer": "no", "question_id": "2", "type": 3}]  # fmt: skip
    write(tmp_path / "m", "videos/all", asked, answers)
    assert [s.split for s in read("msrvtt", tmp_path / "m")] == ["who", "other"]
    write(tmp_path / "a", "all_test", asked, answers, ["v_a.mkv", "b.webm"])
    samples = read("activitynet", tmp_path / "a")
    assert [s.split for s in samples] == ["motion", "yes/no"]
    assert [s.media for s in samples] == ["all_test/v_a.mkv", "all_test/b.webm"]


def test_a_type_that_activitynet_has_not_is_refused(tmp_path):
    answers = [{"answer": "x", "question_id": "1", "type": 9}]
    write(tmp_path, "all_test", [ask("a", "q", "1")], answers)
    with pytest.raises(DataError, match="type of '1' must be 0 to 8, got 9"):
        read("activitynet", tmp_path)


def test_a_folder_of_frames_comes_before_a_video(tmp_path):
    write(
        tmp_path, "videos", [ask("a", "q", "1")], [{"answer": "x", "question_id": "1"}], ["a.mp4"]
    )
    (tmp_path / "videos" / "a").mkdir()
    assert read("msvd", tmp_path)[0].media == "videos/a"


def test_a_missing_video_is_named_as_the_file_that_is_looked_for(tmp_path):
    write(tmp_path, "all_test", [ask("a", "q", "1")], [{"answer": "x", "question_id": "1"}])
    assert read("activitynet", tmp_path)[0].media == "all_test/v_a.mp4"


def test_only_the_first_thousand_questions_are_asked(tmp_path):
    asked = [ask("a", "q", str(i)) for i in range(1200)]
    write(tmp_path, "videos", asked, [{"answer": "x", "question_id": str(i)} for i in range(1200)])
    assert [s.id for s in read("msvd", tmp_path)] == [str(i) for i in range(1000)]
    assert layout_of("msvd").rows == 1000


def test_answers_without_ids_are_paired_by_position(tmp_path):
    asked = [ask("a", "q", str(i)) for i in range(3)]
    write(tmp_path, "videos", asked, [{"answer": str(i)} for i in range(3)])
    assert [s.answer for s in read("msvd", tmp_path)] == ["0", "1", "2"]
    (tmp_path / "test_a.json").write_text('[{"answer": "0"}]')
    with pytest.raises(DataError, match="1 answers without ids for 3 questions"):
        read("msvd", tmp_path)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([{"answer": "x", "question_id": "2"}], "1 of 1 questions .* are not in test_a.json"),
        ([{"answer": "x", "question_id": "1"}] * 2, "has an id twice"),
        ([{"answer": "x", "question_id": "1"}, {"answer": "y"}, {"answer": "z"}], "or none"),
        ([{"question_id": "1"}], "answer.* missing"),
        ({"1": "x"}, "must be a list"),
        ([{"answer": " ", "question_id": "1"}], "question '1' in test_q.json: Sample.answer"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, answers, reason):
    write(tmp_path, "videos", [ask("a", "q", "1")], answers)
    with pytest.raises(DataError, match=reason):
        read("msvd", tmp_path)


@pytest.mark.parametrize("name", VIDEOS)
def test_synthetic_videos_go_through_the_loader_and_the_scorer(tmp_path, name):
    from sparsevlm.miniature.video_llava.clips import make_clip
    from sparsevlm.miniature.video_llava.questions import samples

    folder = write_synthetic_videos(name, tmp_path, n=4, seed=3)
    drawn = samples(name, 4, 3)
    assert layout_of(name).missing(folder) == []
    found = read(name, folder)
    assert [(s.question, s.answer) for s in found] == [(s.question, s.answer) for s in drawn]
    for sample, original in zip(found, drawn, strict=True):
        shown = read_frames(folder / sample.media)
        clip = make_clip(original.seed).frames
        assert [f.tobytes() for f in shown] == [f.convert("RGB").tobytes() for f in clip]
    rows = [{**s.to_json(), "prediction": s.answer} for s in found]
    assert get_benchmark(name).score(rows)["score"] == 100
    if name == "activitynet":
        assert all("/v_clip" in s.media for s in found)


# Frames


def save_npz(path):
    np.savez(path, frames=np.stack([np.asarray(f) for f in frames(17)]))


def save_npy(path):
    np.save(path, np.stack([np.asarray(f) for f in frames(17)]))


def save_gif(path):
    first, *rest = frames(17)
    first.save(path, save_all=True, append_images=rest)


def save_folder(path):
    path.mkdir()
    (path / "notes.txt").touch()
    for i, frame in enumerate(frames(17)):
        frame.save(path / f"{i}.png")  # 10.png comes after 9.png


def save_mp4(path, spoilt=()):
    av = pytest.importorskip("av", reason="the extra `a100` is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.bit_rate = 10**6
        pictures = [av.VideoFrame.from_image(picture) for picture in frames(17, 64)]
        packets = [packet for picture in [*pictures, None] for packet in stream.encode(picture)]
        for number, packet in enumerate(packets):
            container.mux(empty(packet) if number in spoilt else packet)


def empty(packet):
    """The same packet with nothing in it that can be decoded."""
    import av

    spoilt = av.Packet(bytes(40))
    spoilt.stream, spoilt.pts, spoilt.dts = packet.stream, packet.pts, packet.dts
    spoilt.time_base = packet.time_base
    return spoilt


SAVERS = {".npz": save_npz, ".npy": save_npy, ".GIF": save_gif, "": save_folder, ".mp4": save_mp4}


@pytest.mark.parametrize("suffix", SAVERS)
def test_eight_frames_evenly_from_the_first_to_the_last(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    SAVERS[suffix](path)
    shown = read_frames(path)
    assert levels(shown) == [0, 2, 4, 6, 9, 11, 13, 16]  # linspace(0, 16, 8), rounded down
    assert {frame.mode for frame in shown} == {"RGB"}
    assert levels(read_frames(path, 3)) == [0, 8, 16]


def test_short_videos_show_frames_twice(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([np.asarray(f) for f in frames(3)]))
    assert levels(read_frames(tmp_path / "a.npy")) == [0, 0, 0, 0, 1, 1, 1, 2]


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.stack([np.asarray(f) for f in frames(1)]))
    assert levels(read_frames(path, 1)) == [0]
    np.save(path, np.stack([np.asarray(f) for f in frames(4)[3:]]))
    assert levels(read_frames(path, 1)) == [3]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npz", b"no zip", "holds no array of frames"),
        ("a.npy", b"", "holds no array of frames"),
        ("a.gif", b"GIF89a", "is damaged"),
        ("a.txt", b"", "is none of .mp4"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_frames(tmp_path / name)


def test_no_video_no_frames_and_arrays_of_another_shape(tmp_path):
    with pytest.raises(DataError, match="there is no video"):
        read_frames(tmp_path / "a.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no frames"):
        read_frames(tmp_path / "empty")
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 4), dtype=np.uint8))
    with pytest.raises(DataError, match=r"must hold uint8 .* got uint8 \[3, 4, 4\]"):
        read_frames(tmp_path / "a.npy")


def test_without_the_decoder_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"pip install 'sparsevlm-repro\[a100\]'"):
        read_frames(tmp_path / "a.mp4")


def test_a_video_that_ends_early_shows_what_can_be_decoded(tmp_path, caplog):
    save_mp4(tmp_path / "a.mkv")
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "none.mkv").write_bytes(data[:100])
    with pytest.raises(DataError, match="is damaged or no video"):
        read_frames(tmp_path / "none.mkv")
    (tmp_path / "half.mkv").write_bytes(data[: len(data) * 2 // 3])
    shown = levels(read_frames(tmp_path / "half.mkv"))
    assert shown == sorted(shown) and shown[0] == 0 and 1 < shown[-1] < 16
    assert "of about 17 promised" in caplog.text


def test_packets_that_cannot_be_decoded_are_told_and_left_out(tmp_path, caplog):
    path = tmp_path / "a.mkv"
    save_mp4(path, spoilt=range(10, 17))
    shown = levels(read_frames(path))
    assert shown == [0, 1, 2, 3, 5, 6, 7, 9]
    assert "only 10 of 17 frames can be decoded" in caplog.text
