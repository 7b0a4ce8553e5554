"""Parameters of a notebook are checked by name, type and registry before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevlm.paper.notebooks import Parameter
from sparsevlm.paper.parameters import check, from_text, of_type, registered

SOURCE = """\
# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64
scale: float = 1.0
quick: bool = False
methods: list[str] = ["sparsevlm"]
benchmark: str = "pope"
limit: int | None = None
model: str = ""
num_questions: int = 20
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "probe.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (3, "int", True), (True, "int", False), (3.0, "int", False), ("3", "int", False),
        (3, "float", True), (True, "float", False), (True, "bool", True), (1, "bool", False),
        (["a"], "list[str]", True), (["a", 1], "list[str]", False), ("a", "list[str]", False),
        (None, "int | None", True), (None, "int", False), ([], "list[int]", True),
        (np.int64(3), "int", True), (np.int64(3), "int | None", True), (np.True_, "int", False),
        ([np.int64(3)], "list[int]", True), (np.float64(3), "int", False),
    ],
)  # fmt: skip
def test_types_are_those_a_reader_means(value, annotation, fits):
    parameter = Parameter("x", annotation, None)
    if fits:
        found = of_type(value, parameter)
        assert found == value and "np." not in repr(found)
        return
    with pytest.raises(ValueError, match="'x' must be "):
        of_type(value, parameter)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("64", "int", 64), ("64", "str", "64"), ("true", "bool", True), ("False", "bool", False),
        ("[1, 2]", "list[int]", [1, 2]), ("['a']", "list[str]", ["a"]), ("1", "float", 1.0),
        ("None", "int | None", None), ("7", "int | None", 7),
    ],
)  # fmt: skip
def test_text_of_the_command_line_is_read_as_declared(text, annotation, value):
    read = from_text(text, Parameter("x", annotation, None))
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["six", "6.5", "true", "[6]", ""])
def test_text_that_is_no_such_value_is_refused(text):
    with pytest.raises(ValueError, match="'tokens' must be int .for example 64., got"):
        from_text(text, Parameter("tokens", "int", 64))


def test_defaults_fill_in(source):
    assert check(source, {"tokens": 32}) == {
        "profile": "mini", "tokens": 32, "scale": 1.0, "quick": False, "methods": ["sparsevlm"],
        "benchmark": "pope", "limit": None, "model": "", "num_questions": 20,
    }  # fmt: skip


def test_an_unknown_parameter_lists_the_known_ones(source):
    with pytest.raises(ValueError, match="unknown parameter 'token' of notebook probe; known: pro"):
        check(source, {"token": 32})


@pytest.mark.parametrize("value", ["32", 32.0, True, None, [32]])
def test_a_value_of_another_type_is_refused(source, value):
    with pytest.raises(ValueError, match="'tokens' must be int"):
        check(source, {"tokens": value})


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"model": "llava"}, "model"),
        ({"methods": ["sparsevlm", "sparsevln"]}, "method"),
        ({"benchmark": "poke"}, "benchmark"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(source, given, kind):
    with pytest.raises(ValueError, match=f"unknown {kind} .*; known: ") as caught:
        check(source, given)
    assert str(caught.value).endswith(", ".join(registered(kind)))


def test_an_unknown_profile_lists_the_known_ones(source):
    with pytest.raises(ValueError, match="unknown profile 'maxi'; known: mini, a100, shape"):
        check(source, {"profile": "maxi"})


@pytest.mark.parametrize("name", ["tokens", "num_questions"])
@pytest.mark.parametrize("value", [0, -64])
def test_what_is_counted_is_positive(source, name, value):
    with pytest.raises(ValueError, match=f"{name!r} must be a positive number, got {value}"):
        check(source, {name: value})


@pytest.mark.parametrize("model", ["", "mini-llava-32", "llava-7b", "llava-hf/llava-1.5-7b-hf"])
def test_a_model_is_bundled_or_a_checkpoint_or_a_folder(source, tmp_path, model):
    assert check(source, {"model": model})["model"] == model
    assert check(source, {"model": str(tmp_path)})
