"""The tensors of the protocol: what was written is read; what is broken is refused, never worse."""

import json
import struct
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_ml_api.problems import Problem
from assay_ml_api.tensors import INPUTS, OUTPUTS, Question, header_length, read, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANSWERS = st.lists(
    st.fixed_dictionaries(
        {
            "category": TEXT,
            "confidence": st.floats(0, 1),
            "needs_review": st.booleans(),
            "error": TEXT,
        }
    ),
    max_size=8,
)
MODEL = {"model_name": "m", "model_version": "1+2"}


def packed(values: list[bytes]) -> bytes:
    """A tensor of type BYTES."""
    return b"".join(struct.pack("<I", len(each)) + each for each in values)


def request(inputs: list[dict[str, Any]], tail: bytes = b"", **more: Any) -> tuple[bytes, int]:
    """A body and the length of its JSON."""
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + tail, len(head)


def binary(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    """An input whose values follow the JSON."""
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


@given(st.lists(st.tuples(st.binary(max_size=12), st.floats(width=64)), max_size=8))
def test_inputs_in_bytes_are_read_in_their_order(rows: list[tuple[bytes, float]]) -> None:
    """Each input takes its own part of the bytes; text keeps the bytes that are none."""
    texts, numbers = [each for each, _ in rows], [each for _, each in rows]
    first, second = packed(texts), struct.pack(f"<{len(rows)}d", *numbers)
    shape = [len(rows), 1]
    body, length = request(
        [
            binary("description", "BYTES", shape, len(first)),
            binary("amount", "FP64", shape, len(second)),
        ],
        first + second,
    )
    question = read(body, length, 8)
    assert question.rows == len(rows)
    assert [
        str(each).encode("utf-8", "surrogateescape") for each in question.inputs["description"]
    ] == texts
    assert [repr(float(str(each))) for each in question.inputs["amount"]] == list(
        map(repr, numbers)
    )


@given(ANSWERS, st.permutations(list(OUTPUTS)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_an_answer_says_the_same_in_json_and_in_bytes(
    rows: list[dict[str, Any]], names: list[str], flags: list[bool]
) -> None:
    """Whichever outputs are wanted as bytes, in whatever order."""
    answers = pl.DataFrame(
        rows,
        schema={
            "category": pl.String,
            "confidence": pl.Float64,
            "needs_review": pl.Boolean,
            "error": pl.String,
        },
    )
    question = Question("7", len(rows), {}, dict(zip(names, flags, strict=True)))
    body, length = write(answers, question, MODEL)
    assert (length is not None) == any(flags)
    said = json.loads(body[:length])
    assert said["id"] == "7"
    assert said["model_version"] == "1+2"
    tail = b"" if length is None else body[length:]
    for name, in_bytes, tensor in zip(names, flags, said["outputs"], strict=True):
        assert (tensor["name"], tensor["datatype"]) == (name, OUTPUTS[name])
        assert tensor["shape"] == [len(rows)]
        found = tensor.get("data")
        if in_bytes:
            size = tensor["parameters"]["binary_data_size"]
            found, tail = unpacked(tail[:size], tensor["datatype"], len(rows)), tail[size:]
        assert found == [row[name] for row in rows]
    assert not tail


def unpacked(data: bytes, datatype: str, elements: int) -> list[Any]:
    """Reads a tensor by the letter of the extension."""
    if datatype == "FP64":
        return list(struct.unpack(f"<{elements}d", data))
    if datatype == "BOOL":
        assert set(data) <= {0, 1}
        return [each == 1 for each in data]
    found: list[Any] = []
    while data:
        (length,) = struct.unpack("<I", data[:4])
        found.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    assert len(found) == elements
    return found


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=4), st.data())
def test_truncated_or_lengthened_bytes_are_refused(texts: list[bytes], data: st.DataObject) -> None:
    """Wherever they are cut, and whatever number of elements is claimed of them."""
    whole = packed(texts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for tail, elements in ((whole[:cut], len(texts)), (whole, len(texts) + 1), (whole + b"\0", 1)):
        body, length = request([binary("description", "BYTES", [elements], len(tail))], tail)
        with pytest.raises(Problem) as refused:
            read(body, length, 100)
        assert refused.value.status_code == 400


def test_a_length_beyond_the_bytes_is_refused() -> None:
    """An element that claims four gigabytes costs none."""
    tail = b"\xff\xff\xff\xffabc"
    body, length = request([binary("description", "BYTES", [1], len(tail))], tail)
    with pytest.raises(Problem, match="are not 1 values of BYTES"):
        read(body, length, 1)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have some of these."""
    return st.fixed_dictionaries({}, optional=fields)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
HOSTILE = some(
    id=JSON,
    parameters=JSON | some(binary_data_output=JSON),
    outputs=JSON
    | st.lists(
        some(
            name=st.sampled_from(list(OUTPUTS)) | JSON,
            parameters=JSON | some(binary_data=st.booleans() | JSON),
        ),
        max_size=3,
    ),
    inputs=JSON
    | st.lists(
        some(
            name=st.sampled_from(list(INPUTS)) | JSON,
            datatype=st.sampled_from(["BYTES", "FP64"]) | JSON,
            shape=st.lists(st.integers(-2, 3) | st.integers(), max_size=3) | JSON,
            data=st.lists(JSON, max_size=3) | JSON,
            parameters=JSON | some(binary_data_size=st.integers(-1, 12) | JSON),
        ),
        max_size=3,
    ),
)


def refusal(ask: Callable[[], Any]) -> tuple[int, Any]:
    """The status that something is refused with, or 0 and what it gives."""
    try:
        return 0, ask()
    except Problem as problem:
        return problem.status_code, None


@given(HOSTILE, st.binary(max_size=16), st.none() | st.integers(-5, 5))
def test_whatever_comes_is_read_or_refused(asked: Any, tail: bytes, off: int | None) -> None:
    """No body ends in anything but a question that holds together, or in a 400 or 413."""
    head = json.dumps(asked).encode()
    length = None if off is None else max(0, len(head) + off)
    status, question = refusal(lambda: read(head + tail, length, 3))
    assert status in {0, 400, 413}
    if question is not None:
        assert question.rows <= 3
        assert all(len(values) == question.rows for values in question.inputs.values())
        assert set(question.outputs) <= set(OUTPUTS)


@given(st.text(st.characters(max_codepoint=255), max_size=25))
def test_a_header_is_a_number_or_refused(given_: str) -> None:
    """Whatever a header can hold."""
    status, found = refusal(lambda: header_length(given_))
    assert status in {0, 400}
    if found is not None:
        assert str(found) == (given_.lstrip("0") or "0")
