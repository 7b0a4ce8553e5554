"""Parameters of a notebook are checked by name, type and registry before anything runs."""

from __future__ import annotations

import pytest
from sparsevlm.cli.parameters import check, from_text, matches, registered

from sparsevlm.paper.notebooks import Parameter

SOURCE = """\
# %% tags=["parameters"]
profile: str = "mini"
tokens: int = 64
scale: float = 1.0
quick: bool = False
methods: list[str] = ["sparsevlm"]
benchmark: str = "pope"
limit: int | None = None
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
    ],
)  # fmt: skip
def test_types_are_those_a_reader_means(value, annotation, fits):
    assert matches(value, annotation) is fits


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("64", "int", 64), ("64", "str", "64"), ("true", "bool", True), ("False", "bool", False),
        ("[1, 2]", "list[int]", [1, 2]), ("['a']", "list[str]", ["a"]), ("1", "float", 1),
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
        "benchmark": "pope", "limit": None,
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
        ({"profile": "maxi"}, "profile"),
        ({"methods": ["sparsevlm", "sparsevln"]}, "method"),
        ({"benchmark": "poke"}, "benchmark"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(source, given, kind):
    with pytest.raises(ValueError, match=f"unknown {kind} .*; known: ") as caught:
        check(source, given)
    assert str(caught.value).endswith(", ".join(registered(kind)))


def test_a_type_that_no_parameter_may_have_is_refused():
    with pytest.raises(ValueError, match="parameters are str, int, float, bool"):
        matches({}, "dict")
