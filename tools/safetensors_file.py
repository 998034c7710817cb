"""A minimal safetensors writer: enough for the fixtures, without the safetensors package.

The file is an 8-byte little-endian header length, a JSON header (padded with spaces to 8 bytes), then raw data.
Fixtures must not change from run to run, so tensors keep the order they were given in.
"""

import json
import struct

import numpy as np

DTYPES = {"float32": "F32", "float16": "F16", "int32": "I32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


def write(path, tensors, metadata=None):
    """Write a dict of name -> numpy array (C order, one of DTYPES) to `path`."""
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, array in tensors.items():
        size = array.nbytes
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for array in tensors.values():
            file.write(array.tobytes(order="C"))


def read(path):
    """The tensors of a file, for checks of what was written."""
    names = {code: name for name, code in DTYPES.items()}
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[entry["data_offsets"][0] : entry["data_offsets"][1]], names[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
    }
