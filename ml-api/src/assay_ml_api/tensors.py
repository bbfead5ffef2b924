"""Questions and answers as the Open Inference Protocol V2 writes them: JSON, and tensors in bytes.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and, for what follows the JSON in a body,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import json as plain_json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

import numpy as np
import polars as pl

from assay.wire import json
from assay_ml_api.problems import Problem

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON; tensors follow."""

BYTES: Final = "BYTES"
FP64: Final = "FP64"
BOOL: Final = "BOOL"

INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "description": (BYTES,),
    "merchant": (BYTES,),
    "amount": (FP64, BYTES),
    "currency": (BYTES,),
    "operation_type": (BYTES,),
    "side": (BYTES,),
    "mcc": (BYTES,),
}
"""The datatypes of each input, the usual one first; all but the first input may be left out."""

OUTPUTS: Final[Mapping[str, str]] = {
    "category": BYTES,
    "confidence": FP64,
    "needs_review": BOOL,
    "error": BYTES,
}
"""The datatype of each output."""

_LENGTH: Final = struct.Struct("<I")
_NUMBERS: Final = (int, Decimal)
_MOST_DIGITS: Final = 18
# A client that asks for these would not find its answer where it looks.
_REFUSED: Final = ("classification", "shared_memory_region")


@dataclass(frozen=True)
class Question:
    """What a body asks.

    Attributes:
        id: to be given back; None where there is none.
        rows: how many records.
        inputs: the values of each input that was given. Text that is no UTF-8 holds lone
            surrogates where the bytes were; numbers are exact.
        outputs: what is wanted, in order, and whether as bytes.
    """

    id: str | None
    rows: int
    inputs: Mapping[str, Sequence[object]]
    outputs: Mapping[str, bool]


def header_length(given: str | None) -> int | None:
    """The number in the header `HEADER_LENGTH`.

    Raises:
        Problem: 400, it is no number.
    """
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS):
        raise Problem(400, f"{HEADER_LENGTH} must be a number of bytes")
    return int(given)


def read(body: bytes, length: int | None, limit: int) -> Question:
    """Reads the body of an inference request.

    Args:
        body: JSON, and the tensors in bytes after it.
        length: how many bytes of it are JSON; None for all.
        limit: the most records that are taken.

    Raises:
        Problem: 400, it is not as the protocol says, names other tensors than `INPUTS` and
            `OUTPUTS`, or its tensors do not fit each other; 413, it has too many records.
    """
    if length is not None and length > len(body):
        raise Problem(400, f"{HEADER_LENGTH} is beyond the body")
    asked, tail = _object(body[:length]), body[len(body) if length is None else length :]
    id_ = asked.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise Problem(400, "id must be a string")
    inputs: dict[str, Sequence[object]] = {}
    rows = None
    for each in _objects(asked.get("inputs"), "inputs"):
        name, datatype, elements = _described(each)
        if name in inputs:
            raise Problem(400, f"the input {name} is there twice")
        if elements > limit:
            raise Problem(413, f"a call may have {limit} records at most")
        if elements != (rows := elements if rows is None else rows):
            raise Problem(400, "the inputs must have one shape")
        inputs[name], tail = _values(each, name, datatype, elements, tail)
    if rows is None or "description" not in inputs:
        raise Problem(400, "the input description is missing")
    if tail:
        raise Problem(400, f"{len(tail)} bytes of the body belong to no input")
    return Question(id_, rows, inputs, _outputs(asked))


def write(
    answers: pl.DataFrame, question: Question, model: Mapping[str, str]
) -> tuple[bytes, int | None]:
    """The body of an inference response, and how many bytes of it are JSON; None for all.

    Args:
        answers: with the columns of `OUTPUTS`, none null.
        question: which outputs it wants, and how.
        model: its `model_name` and `model_version`.
    """
    described: list[dict[str, object]] = []
    tensors: list[bytes] = []
    for name, binary in question.outputs.items():
        head: dict[str, object] = {
            "name": name,
            "datatype": OUTPUTS[name],
            "shape": [answers.height],
        }
        if binary:
            tensors.append(_packed(answers[name], OUTPUTS[name]))
            described.append(head | {"parameters": {"binary_data_size": len(tensors[-1])}})
        else:
            described.append(head | {"data": answers[name].to_list()})
    id_ = {} if question.id is None else {"id": question.id}
    text = plain_json.dumps({**model, **id_, "outputs": described}, allow_nan=False).encode()
    return b"".join([text, *tensors]), len(text) if tensors else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Problem(400, str(error)) from None
    if not isinstance(found, dict):
        raise Problem(400, "the body must be an inference request")
    return cast(dict[str, Any], found)


def _objects(found: object, name: str) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise Problem(400, f"{name} must be a list of objects")
    each = cast(list[object], found)
    if not all(isinstance(one, dict) for one in each):
        raise Problem(400, f"{name} must be a list of objects")
    return cast(list[dict[str, Any]], each)


def _parameters(of: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a request or tensor; those that are not known mean nothing here."""
    found = of.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Problem(400, "parameters must be an object")
    parameters = cast(dict[str, Any], found)
    for name in _REFUSED:
        if name in parameters:
            raise Problem(400, f"the parameter {name} is not supported")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, otherwise: bool) -> bool:  # noqa: FBT001 - the protocol's default
    found = parameters.get(name, otherwise)
    if not isinstance(found, bool):
        raise Problem(400, f"the parameter {name} must be true or false")
    return found


def _outputs(asked: Mapping[str, Any]) -> dict[str, bool]:
    binary = _flag(_parameters(asked), "binary_data_output", otherwise=False)
    wanted: dict[str, bool] = {}
    for each in _objects(asked.get("outputs") or [], "outputs"):
        name = each.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise Problem(400, "an output must be one of: " + ", ".join(OUTPUTS))
        if name in wanted:
            raise Problem(400, f"the output {name} is wanted twice")
        wanted[name] = _flag(_parameters(each), "binary_data", binary)
    return wanted or dict.fromkeys(OUTPUTS, binary)


def _described(tensor: Mapping[str, Any]) -> tuple[str, str, int]:
    """Name, datatype and number of elements of an input."""
    name, datatype, shape = (tensor.get(each) for each in ("name", "datatype", "shape"))
    if not isinstance(name, str) or name not in INPUTS:
        raise Problem(400, "an input must be one of: " + ", ".join(INPUTS))
    if not isinstance(datatype, str) or datatype not in INPUTS[name]:
        raise Problem(400, f"the datatype of {name} must be " + " or ".join(INPUTS[name]))
    if (
        not isinstance(shape, list)
        # A bool is an int, too.
        or not all(type(each) is int and each >= 0 for each in cast(list[object], shape))
        or cast(list[int], shape)[1:] not in ([], [1])
        or not shape
    ):
        raise Problem(400, f"the shape of {name} must be [n] or [n, 1]")
    return name, datatype, cast(list[int], shape)[0]


def _values(
    tensor: Mapping[str, Any], name: str, datatype: str, elements: int, tail: bytes
) -> tuple[Sequence[object], bytes]:
    """The values of an input, and what it leaves of the bytes after the JSON."""
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        return _listed(tensor.get("data"), name, datatype, elements), tail
    if type(size) is not int or not 0 <= size <= len(tail):
        raise Problem(400, f"binary_data_size of {name} is not what the body has for it")
    if "data" in tensor:
        raise Problem(400, f"the values of {name} are there twice")
    values = _unpacked(tail[:size], datatype, elements)
    if values is None:
        raise Problem(400, f"the bytes of {name} are not {elements} values of {datatype}")
    return values, tail[size:]


def _listed(data: object, name: str, datatype: str, elements: int) -> Sequence[object]:
    if not isinstance(data, list):
        raise Problem(400, f"{name} has no data")
    values = cast(list[object], data)
    if values and isinstance(values[0], list):  # one list for each row of [n, 1]
        rows = [cast(list[object], row) if isinstance(row, list) else [] for row in values]
        if not all(len(row) == 1 for row in rows):
            raise Problem(400, f"the data of {name} are not of its shape")
        values = [row[0] for row in rows]
    if len(values) != elements:
        raise Problem(400, f"the data of {name} are not of its shape")
    kinds = {str} if datatype == BYTES else set(_NUMBERS)
    if not kinds.issuperset(map(type, values)):
        raise Problem(400, f"the data of {name} are not {datatype}")
    return values


def _unpacked(data: bytes, datatype: str, elements: int) -> Sequence[object] | None:
    """The values that bytes stand for; None where they are more, fewer or none at all."""
    if datatype == FP64:
        if len(data) != 8 * elements:
            return None
        # The shortest text that gives the number is what the client wrote.
        return [Decimal(repr(each)) for each in np.frombuffer(data, "<f8").tolist()]
    values: list[str] = []
    at = 0
    for _ in range(elements):
        if at + _LENGTH.size > len(data):
            return None
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        values.append(data[at : at + length].decode("utf-8", "surrogateescape"))
        at += length
    return values if at == len(data) else None


def _packed(values: pl.Series, datatype: str) -> bytes:
    """The bytes of a tensor."""
    if datatype == FP64:
        return values.to_numpy().astype("<f8").tobytes()
    if datatype == BOOL:
        return values.to_numpy().astype(np.uint8).tobytes()
    # Few of the texts differ: each is written once.
    written = {
        each: _LENGTH.pack(len(each.encode())) + each.encode() for each in values.unique().to_list()
    }
    return b"".join(map(written.__getitem__, values.to_list()))
