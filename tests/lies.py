"""Files that are well formed but false: a way to make one for each container that a format uses."""

import ast
import io
import json
import pickle
import re
import struct
import warnings
import zipfile

import numpy as np

from tests.saved.seal import MARK

#: Numbers that sizes, places and counts become.
NUMBERS = [0, 1, -1, 2, 3, 5, 20, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, 10**40]
#: Values of JSON that no writer of it wrote.
RAW = [
    b"[" * 10**6 + b"]" * 10**6, b'{"a":' * 10**6, b"[" * 10**6, b"9" * 5000, b"-1e999", b"1e999", b"NaN", b"Infinity",
    b"1e-400", b'"\\ud800"', b'"\xff"', b"'a'", b"", b"01", b"\xef\xbb\xbf1", b"1}", b"[1,]", b"\x00",
]  # fmt: skip
#: Values that take the place of one in JSON.
VALUES = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, 10**400, 1e300, 1e-320, -0.0, "", "GRU", "lstm", "relu",
    "x" * 5000, "\x1b[31m", "\u202e", [], {}, [[]], [1.0], [None, None, 3], {"class_name": "LSTM"},
]  # fmt: skip
#: Numbers that no weight may be, and some that it may.
WEIGHTS = [np.nan, np.inf, -np.inf, 3e38, 1e-45, 0.0]
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "C64", "F8_E4M3", "F4", "U16", "f32", "", 7]
#: Types of arrays in .npy, among them ones that are no numbers.
NPY_DTYPES = ["<f4", ">f4", "<f8", "<f2", "<i8", "|O", "|V8", "<U3", "<M8[s]", "<c8", [["a", "<f4"]], "x", "", 7]
NAMES = ["", "x", "../../x", "/x", "a\nb", "\x1b[2J", "\u202e", "a" * 9999]


def lying(draw, data):
    """Return bytes that are well formed and say what is not so; those of an unknown container as they are."""
    for sign, lie in SIGNS.items():
        if data.startswith(sign):
            return lie(draw, data)
    return lying_tensors(draw, data) if data[8:9] == b"{" else data


def marked(draw, value):
    """Return JSON, what no writer wrote in the place of each MARK."""
    return json.dumps(value).encode().replace(json.dumps(MARK).encode(), draw.choice(RAW))


def lying_shape(draw, shape):
    """Return another shape, or what is none."""
    return draw.choice(
        [
            [*shape][::-1], [*shape, 2], [1] * 100, [0, 2**62], [2**40, 0, 2**40], [2**63, 2], [-1], [0], [], [1.5],
            None, [n + 1 for n in shape], [*shape[:-1], draw.choice(NUMBERS)], [draw.choice(NUMBERS), *shape[1:]],
        ]
    )  # fmt: skip


def lying_tensors(draw, data):
    """Let the header of a safetensors file lie about types, shapes, places, names and its own length."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = draw.choice([name for name in header if name != "__metadata__"])
    entry, way = header[name], draw.randrange(8)
    start, end = entry["data_offsets"]
    spans = [[start + 4, end + 4], [start, end - 4], [end, start], [0, end], [-4, end], [start, 2**63], [0, 0], [start]]
    if way == 0:
        entry["dtype"] = draw.choice(DTYPES)
    elif way == 1:
        entry["shape"] = draw.choice([lying_shape(draw, entry["shape"]), MARK])
    elif way == 2:
        entry["data_offsets"] = draw.choice([*spans, None, MARK])
    elif way == 3:
        header["__metadata__"] = draw.choice([{"a": "b"}, {"a": 1}, [], MARK])
    elif way == 5:
        header[draw.choice([*NAMES, *header])] = header.pop(name)
    elif way == 6:
        body = lying_numbers(draw, body, start, entry["dtype"])
    elif way == 7:
        header[name] = draw.choice([None, [], 1, {}, MARK, entry | {"more": MARK}])
    text = marked(draw, header)
    told = len(text)
    if way == 4:
        told = draw.choice([0, 1, told - 1, told + 1, 2**63, 2**64 - 1, told + len(body)])
    return struct.pack("<Q", told) + text + body


def lying_numbers(draw, body, start, dtype="F32"):
    """Put a number that no weight may be, or a strange one, at a place; float64 where the type says so."""
    number = struct.pack("<d" if dtype == "F64" else "<f", draw.choice(WEIGHTS))
    return body[:start] + number + body[start + len(number) :]


def lying_npy(draw, data):
    """Let the header of one array of a .npy file, or of several one after the other, lie."""
    heads = [*re.finditer(rb"\x93NUMPY\x01\x00..(\{[^\n]*\n)", data, re.DOTALL)]
    if not heads:
        return data
    head = draw.choice(heads)
    said = ast.literal_eval(head[1].decode("latin1").strip())
    way = draw.randrange(6)
    if way == 0:
        said["descr"] = draw.choice(NPY_DTYPES)
    elif way == 1:
        said["shape"] = tuple(lying_shape(draw, said["shape"]) or ())
    elif way == 2:
        said["fortran_order"] = draw.choice([True, 1, None])
    elif way == 3:
        said.pop(draw.choice([*said]))
    elif way == 4:
        return lying_numbers(draw, data, head.end(), "F64" if said["descr"].endswith("8") else "F32")
    text = repr(said).encode() if way < 5 else draw.choice([b"(" * 9000, b"9" * 9000, b"__import__('os')", b"{", b""])
    text = text.ljust(64) + b"\n"
    version = draw.choice([b"\x01\x00", b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"])
    length = struct.pack("<H" if version[0] == 1 else "<I", draw.choice([len(text), len(text), len(text), 0, 65535]))
    return data[: head.start()] + b"\x93NUMPY" + version + length + text + data[head.end() :]


def lying_zip(draw, data):
    """Let the parts of a zip lie, or the zip about its parts."""
    way = draw.randrange(8)
    if way < 3:
        return _with_other_fields(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = draw.randrange(len(parts))
    name, part = parts[chosen]
    if way == 3:
        parts[chosen] = draw.choice([*NAMES, *(name for name, _ in parts)]), part
    elif way == 4:
        parts.append((name, draw.choice(parts)[1]))
    elif way == 5:
        parts[chosen] = name, bytes(draw.choice([0, 10**6, 30_000_000]))  # packed it is small
    elif name.endswith(".pkl"):
        parts[chosen] = name, _lying_pickle(draw, part)
    elif part[:1] == b"{":
        parts[chosen] = name, lying_json(draw, part)
    else:
        parts[chosen] = name, lying(draw, part)
    packed = zipfile.ZIP_DEFLATED if way == 5 or draw.random() < 0.1 else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", packed) as made:
        for name, part in parts:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = packed
            made.writestr(entry, part)
    return buffer.getvalue()


def _with_other_fields(draw, data):
    """A number or two in the entries of a zip's own list, or at its end, replaced."""
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 2])):
        sign, length = draw.choice([(b"PK\x01\x02", 46), (b"PK\x03\x04", 30), (b"PK\x05\x06", 22)])
        at = draw.choice([found.start() for found in re.finditer(re.escape(sign), data)] or [0])
        field = at + draw.randrange(4, length, 2)
        width = draw.choice([2, 4])
        data[field : field + width] = (draw.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(data)


def lying_json(draw, data):
    """Return JSON in which what stands at one place is something else, or many values inside each other."""
    return marked(draw, lying_value(draw, json.loads(data)))


def lying_value(draw, value):
    """Return a value of JSON in which what stands at one place is something else, or MARK."""
    places, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        keys = [*each] if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else []
        places += [(each, key) for key in keys]
        waiting += [each[key] for key in keys]
    if not places:
        return MARK
    place, key = draw.choice(places)
    way = draw.randrange(8)
    if way == 0 and isinstance(place, list):
        place.extend(draw.choice([[], place[:1], place]) * draw.choice([1, 1, 50]))
    elif way == 1:
        del place[key]
    elif way == 2 and isinstance(place, dict):
        place[draw.choice([*NAMES, *place])] = place.pop(key)
    else:
        place[key] = draw.choice([*VALUES, *NUMBERS, MARK, MARK, MARK])
    return value


def _lying_pickle(draw, data):
    """The pickle of a state_dict that is another: its numbers, its names, or what it builds."""
    way = draw.randrange(5)
    if way == 0:  # a size, a stride or an offset
        whole = [*re.finditer(rb"K(.)", data, re.DOTALL)]
        at = draw.choice(whole).start()
        number = draw.choice(NUMBERS)
        return data[:at] + pickle.dumps(number, 2)[2:-1] + data[at + 2 :]
    if way == 1:
        builds = [
            b"cbuiltins\neval\n",
            b"cos\nsystem\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch\nIntStorage\n",
        ]
        named = [*re.finditer(rb"c[a-zA-Z_.]+\n\w+\n", data)]
        found = draw.choice(named)
        return data[: found.start()] + draw.choice(builds) + data[found.end() :]
    if way == 2:
        deep = draw.choice([100, 5000, 10**5])
        return b"\x80\x02" + b"]" * deep + b"a" * (deep - 1) + b"."
    if way == 3:
        return pickle.dumps(draw.choice([None, 7, [], {"a": 1}, {"rnn.weight_ih_l0": {}}, {1: 2}, "x" * 10**6]), 2)
    return (
        data[:-1] + draw.choice([b"2", b"0", b"0" * 9, b"q\x00", b"h\xff", b"(" * 10**5, b"R", b"b", b"Q", b""]) + b"."
    )


def lying_hdf5(draw, data):
    """Put something else in the place of one array or group of an HDF5 file."""
    import h5py  # here, because the package is an extra

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        groups, arrays = [], []
        file.visititems(lambda place, found: (arrays if isinstance(found, h5py.Dataset) else groups).append(place))
        place = draw.choice(arrays if arrays and draw.random() < 0.8 else groups or arrays)
        was = file[place]
        if not isinstance(was, h5py.Dataset) or draw.random() < 0.3:
            _lying_link(draw, h5py, file, place, draw.choice([*groups, *arrays]))
        else:
            _lying_array(draw, h5py, file, place, was[()])
    return buffer.getvalue()


def _lying_link(draw, h5py, file, place, other):
    del file[place]
    way = draw.randrange(6)
    if way == 0:
        file[place] = h5py.SoftLink(draw.choice(["/" + place, "/", "/" + other, "nowhere"]))
    elif way == 1:
        file[place] = h5py.ExternalLink(draw.choice(["/dev/zero", "nowhere.h5", "/etc/passwd"]), "/x")
    elif way == 2:
        file[place] = file["/"]  # a group inside itself
    elif way == 3 and other != place and other in file:
        file[place] = file[other]
    elif way == 4:
        deep = file.create_group(place)
        for _ in range(draw.choice([5, 14, 300])):
            deep = deep.create_group("0")
    else:
        file.create_dataset(place, data=np.zeros(draw.choice([(), (0,), (3, 0)]), np.float32))


def _lying_array(draw, h5py, file, place, w):
    w = np.atleast_1d(w)
    far = (draw.choice([3, 2**20, 2**31, 2**40]), *w.shape[1:])
    random = np.random.default_rng(draw.getrandbits(32))
    del file[place]
    ways = [
        lambda: file.create_dataset(place, data=w.T),
        lambda: file.create_dataset(place, data=w[:-1]),
        lambda: file.create_dataset(place, data=np.concatenate([w, w])),
        lambda: file.create_dataset(place, data=w.astype(draw.choice(["f2", "f8", ">f4", "i4", "u1", "c8", "S4"]))),
        lambda: file.create_dataset(place, data=np.where(random.random(w.shape) < 0.1, draw.choice(WEIGHTS), w)),
        lambda: file.create_dataset(place, far, "f4", chunks=True),  # of any size, and nothing is stored
        lambda: file.create_dataset(place, far, "f4", chunks=True, compression="gzip"),
        lambda: file.create_dataset(place, far, "f4"),
        lambda: file.create_dataset(place, w.shape, "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
        lambda: file.create_dataset(place, data=h5py.Empty("f4")),
        lambda: file.create_dataset(place, data="no numbers"),
        lambda: file.create_dataset(place, data=[b"a", b"b"], dtype=h5py.string_dtype()),
        lambda: file.create_virtual_dataset(place, _virtual(h5py, w.shape)),
        lambda: None,
    ]
    draw.choice(ways)()


def _virtual(h5py, shape):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("/dev/zero", "x", shape)
    return layout


def lying_onnx(draw, data):
    """Change the meaning of an ONNX model, or its version, or put messages in messages."""
    from tests.formats.onnx_lies import lie  # here, because the package is an extra

    if draw.random() < 0.1:
        deep = b""
        for _ in range(draw.choice([10, 90, 110, 3000])):  # an attribute that is a graph of a node of an attribute ...
            for field in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
                deep = bytes([field]) + _varint(len(deep)) + deep
        return data + b"\x3a" + _varint(len(deep)) + deep  # ModelProto.graph, once more
    if draw.random() < 0.1:
        return data + b"\x08" + _varint(draw.choice(NUMBERS) % 2**64)  # ModelProto.ir_version, once more
    return lie(draw, data)


def _varint(number):
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


#: How the bytes of a container begin.
SIGNS = {
    b"PK": lying_zip,
    b"\x89HDF": lying_hdf5,
    b"\x93NUMPY": lying_npy,
    b"{": lying_json,
    b"\x08": lying_onnx,  # ModelProto.ir_version, which comes first
}
