"""Whether an ONNX file is whole: looks for tensors that refer to other files, without the `onnx` package.

A device has onnxruntime only, and that opens whatever external file a tensor names, even when the model comes as
bytes. An ONNX file is a protobuf; this walks just those messages through which a tensor can be reached
(field numbers of onnx.proto, IR version 3 to 11), and refuses to understand anything else.
"""

from collections.abc import Iterator

LIMIT = 64 << 20
"""Bytes of the largest file that is looked at."""

_DEPTH = 64  # graphs within graphs; real ones have two or three

_GRAPH = {1: "node", 5: "tensor", 15: "sparse"}
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": _GRAPH,
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_tensor(model: bytes) -> str | None:
    """Name of the first tensor that lies in another file, or None.

    Raises:
        ValueError: the bytes are no protobuf, are too large, or nest too deep.
    """
    if len(model) > LIMIT:
        raise ValueError(f"{len(model)} bytes; at most {LIMIT}")
    return _search("model", memoryview(model), 0)


def _search(kind: str, message: memoryview, depth: int) -> str | None:
    if depth > _DEPTH:
        raise ValueError(f"nested deeper than {_DEPTH}")
    if kind == "tensor":
        return _tensor(message)
    children = _CHILDREN[kind]
    for number, value in _fields(message):
        child = children.get(number)
        if child is not None and isinstance(value, memoryview):
            found = _search(child, value, depth + 1)
            if found is not None:
                return found
    return None


def _tensor(message: memoryview) -> str | None:
    name, external = "", False
    for number, value in _fields(message):
        if number == _TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value[:200]).decode(errors="replace")
        external |= number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0)
    return name if external else None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field: an int, or the bytes of a string, a message or a packed list."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        if key >= 1 << 32:  # other parsers would cut it and see another field
            raise ValueError(f"a field number that is too large at byte {at}")
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > end:
            raise ValueError("it ends too early")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends too early")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number without end at byte {at}")
