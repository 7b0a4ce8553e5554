"""Fetching checkpoints from a real server on this machine."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from checkpoint_hub import COMMIT, Hub, serving
from filelock import FileLock

from sparsevlm.evaluation.paths import ROOT
from sparsevlm.models.checkpoints.declared import CHECKPOINTS, Repository, find
from sparsevlm.models.checkpoints.fetch import check, fetch, of_checkpoint
from sparsevlm.models.checkpoints.orders import Order, Stock
from sparsevlm.models.checkpoints.places import LOCK, CheckpointError, locate, place, read_lock

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
NAME = "some/model"
FILES = {
    "config.json": b"{}", "model-1.safetensors": WEIGHTS, "model-2.safetensors": WEIGHTS[::-1],
    "tokenizer.model": b"pieces", "empty.txt": b"", "training_args.bin": b"pickle",
    "modeling.py": b"code", "sub/other.safetensors": b"x", "trainer_state.json": b"{}",
}  # fmt: skip
WANTED = {"config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.model",
          "empty.txt"}  # fmt: skip


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """The tests of the suite forbid the hub; here it is a server of our own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub():
    with serving(Hub({NAME: dict(FILES)})) as running:
        yield running


def checkpoint(revision="main", name=NAME):
    repository = Repository(name, revision, "a licence", 2_000_000)
    return replace(CHECKPOINTS[0], name=name, repositories=(repository,))


def get(hub, folder, revision="main", **options):
    said = []
    stock = of_checkpoint(checkpoint(revision), folder)
    fetch([stock], endpoint=hub.address, say=said.append, **options)
    return said


def downloads(hub):
    return [(path.rpartition("/")[2], part) for path, part in hub.asked if "/resolve/" in path]


def test_all_that_is_needed_and_nothing_else(hub, tmp_path):
    said = get(hub, tmp_path)
    found = locate(checkpoint().repositories[0], tmp_path)
    assert found == tmp_path / "some--model" / COMMIT
    assert {path.name for path in found.iterdir() if path.is_file()} == WANTED
    for name in WANTED:
        assert (found / name).read_bytes() == FILES[name]
    assert said[0].startswith("some/model @ 0123456789ab: 2.1 MB to fetch (a licence)")
    assert check([of_checkpoint(checkpoint(), tmp_path)]) == []


def test_a_second_fetch_asks_the_hub_for_nothing(hub, tmp_path):
    get(hub, tmp_path)
    hub.asked.clear()
    assert "is there" in get(hub, tmp_path)[0]
    assert hub.asked == []


def test_the_first_fetch_pins_what_main_was(hub, tmp_path):
    get(hub, tmp_path)
    (place(NAME, COMMIT, tmp_path) / "config.json").unlink()
    hub.commit = "f" * 40  # main moves on
    get(hub, tmp_path)
    assert read_lock(tmp_path)[NAME].revision == COMMIT
    assert locate(checkpoint().repositories[0], tmp_path).name == COMMIT


def test_a_declared_commit_is_demanded(hub, tmp_path):
    with pytest.raises(CheckpointError, match="not its revision eeee"):
        get(hub, tmp_path, "e" * 40)
    get(hub, tmp_path, COMMIT)
    with pytest.raises(CheckpointError, match="fetched at 0123456789ab, and this version .* eeee"):
        locate(checkpoint("e" * 40).repositories[0], tmp_path)


def test_a_lost_connection_is_taken_up_where_it_broke(hub, tmp_path):
    large = WEIGHTS * 24  # huggingface_hub keeps whole parts of 10 MiB
    hub.repositories[NAME]["model-1.safetensors"] = large
    hub.cut_at = {"model-1.safetensors": [11_000_000, 11_000_000]}
    get(hub, tmp_path)
    parts = [part for name, part in downloads(hub) if name == "model-1.safetensors"]
    assert parts == ["", "bytes=10485760-", "bytes=20971520-"]
    assert (place(NAME, COMMIT, tmp_path) / "model-1.safetensors").read_bytes() == large


def test_a_stopped_fetch_goes_on_in_the_next(hub, tmp_path):
    hub.broken = {"model-2.safetensors"}
    with pytest.raises(CheckpointError, match="whole files are kept"):
        get(hub, tmp_path)
    with pytest.raises(
        CheckpointError, match="model-2.safetensors is missing; run `sparsevlm fetch"
    ):
        locate(checkpoint().repositories[0], tmp_path)
    hub.broken = set()
    there = {path.name for path in place(NAME, COMMIT, tmp_path).iterdir() if path.is_file()}
    hub.asked.clear()
    get(hub, tmp_path)
    assert {name for name, _ in downloads(hub)} == WANTED - there
    assert locate(checkpoint().repositories[0], tmp_path)


def test_a_hub_that_goes_away_is_not_taken_for_a_damaged_file(hub, tmp_path):
    hub.broken = {"tree"}
    place(NAME, COMMIT, tmp_path).mkdir(parents=True)
    (place(NAME, COMMIT, tmp_path) / "notes.txt").write_text("huggingface_hub returns this folder")
    with pytest.raises(CheckpointError, match="connection to the hub failed .*did not come"):
        get(hub, tmp_path)


def test_a_server_that_cannot_continue(hub, tmp_path):
    hub.cut_at, hub.ranges = {"model-1.safetensors": [300_000]}, False
    get(hub, tmp_path)
    assert (place(NAME, COMMIT, tmp_path) / "model-1.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model-1.safetensors", "config.json"])
def test_a_file_that_changed_on_its_way(hub, tmp_path, name):
    hub.altered = {name}
    with pytest.raises(CheckpointError, match=f"{name} of some/model came with another content"):
        get(hub, tmp_path)
    hub.altered = set()
    get(hub, tmp_path)  # nothing of the bad one is left in the way
    assert check([of_checkpoint(checkpoint(), tmp_path)]) == []


def test_a_file_that_is_shorter_than_stated(hub, tmp_path):
    hub.sizes = {"model-1.safetensors": len(WEIGHTS) + 1}
    with pytest.raises(CheckpointError, match="came with another content"):
        get(hub, tmp_path)


@pytest.mark.parametrize("name", ["model-1.safetensors", "config.json"])
def test_damage_on_the_disk_is_found(hub, tmp_path, name):
    get(hub, tmp_path)
    path = place(NAME, COMMIT, tmp_path) / name
    path.write_bytes(b"?" * len(FILES[name]))
    (found,) = check([of_checkpoint(checkpoint(), tmp_path)])
    assert found == (
        f"some/model: {name} has another content than the hub says (damaged); fetch it again"
    )
    get(hub, tmp_path)
    assert path.read_bytes() == FILES[name]


def test_a_full_disk_is_seen_before_anything_is_fetched(hub, tmp_path):
    hub.sizes = {"model-1.safetensors": 10**18}
    with pytest.raises(CheckpointError, match="1000000000.00 GB are to be fetched .* fewer"):
        get(hub, tmp_path)
    assert downloads(hub) == [] and read_lock(tmp_path) == {}


def test_pickled_weights_are_refused(hub, tmp_path):
    hub.repositories[NAME] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(CheckpointError, match="no safetensors; pickled weights"):
        get(hub, tmp_path)


def test_a_gated_repository(hub, tmp_path):
    hub.gated = {NAME}
    with pytest.raises(CheckpointError, match="asks for its terms to be accepted.* `hf auth"):
        get(hub, tmp_path)


def test_an_unknown_repository(hub, tmp_path):
    with pytest.raises(CheckpointError, match="does not show other/model .* `hf auth login`"):
        fetch([of_checkpoint(checkpoint(name="other/model"), tmp_path)], endpoint=hub.address)


def test_a_dry_run(hub, tmp_path):
    assert get(hub, tmp_path, dry_run=True)[-1].startswith("would fetch 2.1 MB into")
    assert downloads(hub) == []
    assert f"fetching 2.1 MB into {tmp_path}" in get(hub, tmp_path)


def test_files_that_are_there_already(hub, tmp_path):
    """Right ones are used, others are fetched; neither loses the copy that it came from."""
    have = tmp_path / "have"
    have.mkdir()
    (have / "model-1.safetensors").write_bytes(WEIGHTS)
    (have / "model-2.safetensors").write_bytes(bytes(len(WEIGHTS)))
    get(hub, tmp_path / "kept", source=have)
    asked = {name for name, _ in downloads(hub)}
    assert asked == WANTED - {"model-1.safetensors", "empty.txt"}  # empty ones need not come
    assert check([of_checkpoint(checkpoint(), tmp_path / "kept")]) == []
    assert len(list(have.iterdir())) == 2
    with pytest.raises(CheckpointError, match="nowhere is no folder"):
        get(hub, tmp_path / "other", source=tmp_path / "nowhere")


def test_one_fetch_at_a_time(hub, tmp_path):
    with FileLock(tmp_path / "fetch.lock"):
        with pytest.raises(CheckpointError, match="another fetch into .* is running"):
            get(hub, tmp_path)


def test_no_network(tmp_path):
    with socket.socket() as free:  # a port that nobody listens on
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CheckpointError, match="connection to the hub failed .*HTTPS_PROXY"):
            fetch([of_checkpoint(checkpoint(), tmp_path)], endpoint=address)


def test_a_forbidden_network(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE forbids the network"):
        get(hub, tmp_path)


def test_the_command_takes_the_address_from_the_environment(tmp_path):
    commit = find("llava-7b").repositories[0].revision
    served = Hub({"llava-hf/llava-1.5-7b-hf": {"a.safetensors": b"x"}}, commit=commit)
    with serving(served):
        environment = {**os.environ, "HF_ENDPOINT": served.address, "HF_HUB_OFFLINE": "0",
                       "SPARSEVLM_CHECKPOINTS": str(tmp_path)}  # fmt: skip
        command = [sys.executable, "-m", "sparsevlm", "fetch", "llava-7b"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loading needs no network from now on" in done.stdout
    assert (tmp_path / "llava-hf--llava-1.5-7b-hf" / commit / "a.safetensors").exists()


def test_what_is_not_there_is_found_by_a_check(tmp_path):
    said = check([of_checkpoint(find("mgm-7b"), tmp_path)])
    assert said[0] == "YanweiLi/MGM-7B has not been fetched" and len(said) == 2


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown checkpoint 'llava'; known: llava-hf/"):
        find("llava")


@pytest.mark.parametrize(("says", "said"), [
    ((200, {"Content-Type": "text/html"}, b"<html>log in</html>"), "log in where your network"),
    ((200, {"Content-Type": "application/json"}, b"[]"), "in place of the hub or GitHub about"),
    ((302, {"Location": "/loop"}, b""), "connection to the hub failed .*redirects"),
    ((401, {}, b""), "wants a login .*`hf auth login`"),
    ((429, {"Retry-After": "7"}, b""), "too many requests .* again in 7 seconds"),
    ((429, {}, b""), "too many requests .* again in an hour"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["model", "github"])
def test_an_answer_that_is_none_is_one_sentence(hub, tmp_path, monkeypatch, kind, says, said):
    hub.says = says
    monkeypatch.setenv("SPARSEVLM_GITHUB", hub.address)
    repository = replace(find("llava-7b").repositories[0], kind=kind)
    with pytest.raises(CheckpointError, match=said) as raised:
        fetch([Stock((Order(repository, tmp_path),))], endpoint=hub.address)
    assert "\n" not in str(raised.value)


def set_all(values: dict, **fields) -> dict:
    for one in values["repositories"].values():
        one.update(fields)
    return values


def set_files(values: dict, **fields) -> dict:
    for one in values["repositories"].values():
        one["files"] = [{**file, **fields} for file in one["files"]]
    return values


@pytest.mark.parametrize(("change", "said"), [
    (lambda values: [], "the file: Input should be an object"),
    (lambda values: {**values, "format": 9}, "format: Input should be 1"),
    (lambda values: {**values, "repositories": []}, "repositories: Input should be an object"),
    (lambda values: set_all(values, files="x"), "files: Input should be a valid array"),
    (lambda values: set_all(values, revision=None), "revision: Input should be a valid string"),
    (lambda values: set_all(values, revision=""), "a revision is empty"),
    (lambda values: set_files(values, size="12"), "size: Input should be a valid integer"),
    (lambda values: set_files(values, kind="md5"), "kind: Input should be 'sha256' or 'git'"),
    (lambda values: set_files(values, name="../x"), "'../x' leads out of its folder"),
    (lambda values: set_files(values, name="/x"), "'/x' leads out of its folder"),
])  # fmt: skip
def test_a_lock_file_edited_by_hand(hub, tmp_path, change, said):
    get(hub, tmp_path)
    path = tmp_path / LOCK
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match=f"cannot be read .*{said}.*; delete it and run"):
        get(hub, tmp_path)


def test_a_folder_that_is_a_file(hub, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file.* cannot be used .File exists.*--folder"):
        get(hub, tmp_path / "file")


def test_a_dry_run_writes_nothing(hub, tmp_path):
    get(hub, tmp_path / "not" / "there", dry_run=True)
    assert not list(tmp_path.iterdir())


def test_files_that_the_system_lets_grow_no_more(hub, tmp_path):
    command = [sys.executable, "-m", "sparsevlm", "fetch", "llava-7b", "--folder", str(tmp_path)]
    repository = find("llava-7b").repositories[0]
    hub.commit = repository.revision
    hub.repositories = {repository.id: {"a.safetensors": b"x" * 9999}}
    done = subprocess.run(
        command, env={**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0"}, cwd=ROOT,
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )  # fmt: skip
    assert done.returncode == 1 and "the disk is full at" in done.stderr.splitlines()[-1]
