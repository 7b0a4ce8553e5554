"""Mini-Gemini as its authors publish it: one flat configuration, their names, two towers."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_mini_gemini
import torch
from safetensors.torch import save_file
from tiny_checkpoints import VICUNA, letters_tokenizer

from sparsevlm.models.checkpoints import find
from sparsevlm.models.checkpoints.loading import load
from sparsevlm.models.checkpoints.places import Locked, place, write_lock
from sparsevlm.models.mini_gemini import checkpoint as official
from sparsevlm.models.mini_gemini import configuration


def official_release(folder: Path, tower: Path):
    """Files as the authors publish them: one flat configuration, their names, two towers."""
    from sparsevlm.models.mini_gemini.checkpoint import official_name

    model = tiny_mini_gemini.small_mini_gemini()
    text = model.config.text_config.to_dict()
    flat = {k: v for k, v in text.items() if k not in ("model_type", "architectures", "dtype")}
    raw = {**flat, "model_type": "mgm", "image_size_aux": 64, "mm_vision_select_layer": -2}
    weights = {official_name(k): v.contiguous() for k, v in model.state_dict().items()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(raw))
    save_file(weights, folder / "model.safetensors")
    letters_tokenizer(VICUNA[:4]).save_pretrained(folder)
    aux = "model.vision_tower_aux."
    trunk = {
        k.removeprefix(aux).replace("vision_", "visual.trunk."): v + 1
        for k, v in weights.items()
        if k.startswith(aux)
    }
    tower.mkdir()
    save_file(trunk, tower / "open_clip_pytorch_model.safetensors")
    return model


def test_the_official_release_takes_its_second_tower_from_its_own_file(tmp_path, monkeypatch):
    """As the official loader does, where the tower has been fetched; else from the release."""
    release, tower = tmp_path / "release", tmp_path / "tower"
    model = official_release(release, tower)
    sizes = model.config.vision_config, model.config.aux_config
    # The release does not say how large its towers are; ours are smaller than CLIP-L.
    monkeypatch.setattr(official, "clip_large_336", lambda: sizes[0])
    monkeypatch.setattr(configuration, "convnext_large", lambda: sizes[1])
    name = "model.vision_tower_aux.embeddings.patch_embeddings.bias"
    want = model.state_dict()[name]

    alone, _ = load(release, dtype="float32", device="cpu")
    assert torch.equal(alone.state_dict()[name], want)

    main, second = find("mgm-7b").repositories
    folder, locks = tmp_path / "fetched", {}
    for repository, source in ((main, release), (second, tower)):
        commit = repository.revision if repository.pinned else "a" * 40
        here = place(repository, commit, folder)
        here.parent.mkdir(parents=True)
        source.rename(here)
        locks[repository.id] = Locked(commit, ())
    write_lock(folder, locks)
    both, _ = load("mgm-7b", dtype="float32", device="cpu", folder=folder)
    assert torch.equal(both.state_dict()[name], want + 1)
