"""Whole files made strange: their bytes, their words, or what they say, by a generator."""

import json
import pickle
import random
import struct
import zipfile
import zlib
from copy import deepcopy
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import torch
import yaml
from scipy.io import loadmat, savemat

from nni_count.data.readers.matlab import _unpack

#: would leave a file of this name, or import a module that nothing needs, if anything were run
PAYLOAD = {"class_path": "os.system", "init_args": {"command": "touch PWNED"}}
WORDS = [
    *("nan", "-inf", "1e999", "-1", "0", "1e9", "9" * 30, "9" * 5000, "1_000", "0x1F", "１２", "∞", "½", "1,5", "null"),
    *("", " ", "\0", "\u202e", "é", "\\ud800", "x" * 100_000, "\n", '"', "'", "<", "&", "]", "{", "&lol;", "*a", "&a "),
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", "file:///etc/passwd", "CON", ".", "..", "~", "a/" * 200),
    *(
        "!!python/object/apply:os.system [touch PWNED]",
        "os.system",
        "this.x",
        "antigravity",
        "2001-01-01",
        "!!binary aGk=",
    ),
    *("true", "[]", "{}", "=1+1", "%s%n", "\t", ";", "|", "\r", "\ufeff", "🙂", "image", "x", "y", "-0.0", "1e-320"),
]
VALUES = [
    *(None, True, False, -1, 0, 1, 2**31, 2**40, 2**64, -(2**63), 10**400, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x" * 5000, "0", "nan", "os.system", "this.x", "\ud800", "\0", "/etc/passwd", [], {}, [[]], {"": None}),
    *([1] * 2000, [None], PAYLOAD, [PAYLOAD], ["1", 2], [[[[[[[[1]]]]]]]], {"a": {"a": {"a": {"a": 1}}}}, {"0": 0}),
]
NUMBERS = [0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def mutated(data, name, draw):
    """The bytes of a file of that name, changed in one of the ways that fit it, or in several."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        ways = [raw, raw, *(words for _ in "xx" if printable(data))]
        ways += [way for suffix, way in STRUCTURED.items() if name.endswith(suffix) for _ in range(4)]
        try:
            data = draw.choice(ways)(data, draw)
        except Exception:  # it is too strange already to be read and changed
            data = raw(data, draw)
    return data


def printable(data):
    return bool(data) and b"\0" not in data[:200] and sum(byte < 128 for byte in data[:200]) > 0.9 * len(data[:200])


def raw(data, draw):
    data = bytearray(data)
    at = draw.randrange(len(data) + 1)
    length = draw.choice((1, 2, 4, 8, 64, max(1, len(data) // 3)))
    way = draw.randrange(8)
    if way == 0:
        return bytes(data[:at])
    if way == 1:
        del data[at : at + length]
    elif way == 2:
        data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
    elif way == 3:
        data[at:at] = draw.randbytes(length)
    elif way == 4:
        data[at : at + length] = bytes(length)
    elif way == 5:
        form = draw.choice(("<I", ">I", "<H", ">H", "<Q"))
        data[at : at + struct.calcsize(form)] = struct.pack(form, draw.choice(NUMBERS) % 256 ** struct.calcsize(form))
    elif way == 6:
        return draw.choice((b"", b"\0" * 100, b"text\n", b"\xff\xfe", b"[" * 5000, b"<" * 5000, b"PK\3\4", data + data))
    for _ in range(draw.choice((1, 1, 10, 100)) if way == 7 and data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def words(data, draw):
    """A number, a word or a mark becomes another, or a line goes or comes twice."""
    text = data.decode("utf-8", "surrogateescape")
    if draw.random() < 0.2:
        lines = text.splitlines(keepends=True) or [""]
        at = draw.randrange(len(lines))
        lines[at : at + 1] = draw.choice(
            ([], [lines[at]] * 2, [lines[at]] * 300, [draw.choice(lines)], [draw.choice(WORDS)])
        )
        text = "".join(lines)
    else:
        ends = [at for at in range(1, len(text)) if text[at - 1].isalnum() != text[at].isalnum()] or [0]
        first = draw.randrange(len(ends))
        last = ends[first + 1] if draw.random() < 0.8 and first + 1 < len(ends) else ends[first]
        text = text[: ends[first]] + draw.choice(WORDS) + text[last:]
    return text.encode("utf-8", "surrogateescape")


def tree(value, draw):
    """Plain values of which one, somewhere, is another, is gone, is there twice or has another name."""
    value = deepcopy(value)
    places = []

    def walk(inner):
        for key, item in list(inner.items() if isinstance(inner, dict) else enumerate(inner))[:200]:
            places.append((inner, key))
            if isinstance(item, (dict, list)) and len(places) < 2000:
                walk(item)

    if not isinstance(value, (dict, list)) or not value or draw.random() < 0.03:
        return draw.choice(VALUES)
    walk(value)
    holder, key = draw.choice(places)
    way = draw.randrange(7)
    if way == 0:
        del holder[key]
    elif way == 1:
        other, name = draw.choice(places)
        holder[key] = deepcopy(other[name]) if name in other or isinstance(other, list) else None
    elif way == 2:
        holder[key] = [holder[key]] * draw.choice((1, 2, 500))
    elif way == 3 and isinstance(holder, dict):
        holder[draw.choice((*WORDS[:20], "os.system", 7))] = holder.pop(key)
    elif way == 3:
        holder.insert(key, deepcopy(holder[key]))
    else:
        holder[key] = deepcopy(draw.choice(VALUES))
    return value


def json_tree(data, draw):
    return json.dumps(tree(json.loads(data), draw)).encode()


def yaml_tree(data, draw):
    head = data.split(b"\n", 1)[0] + b"\n" if data.startswith(b"#") else b""
    return head + yaml.safe_dump(tree(yaml.safe_load(data), draw), sort_keys=False).encode("utf-8", "backslashreplace")


def xml_tree(data, draw):
    root = ElementTree.fromstring(data)
    parents = [element for element in root.iter() if len(element)] or [root]
    holder = draw.choice(parents)
    thing = draw.choice(list(holder) or [root])
    way = draw.randrange(6)
    word = "".join(letter for letter in draw.choice(WORDS) if letter >= " ")
    if way == 0 and thing is not root:
        holder.remove(thing)
    elif way == 1:
        holder.extend([deepcopy(thing)] * draw.choice((1, 300)))
    elif way == 2:
        thing.tag = draw.choice(("points", "polygon", "tag", "track", "image", "object", "x", "a:b"))
    elif way == 3 and thing.attrib:
        thing.set(draw.choice(list(thing.attrib)), word)
    elif way == 4:
        draw.choice(list(root.iter())).append(deepcopy(root))
    else:
        draw.choice(list(root.iter())).text = word
    return ElementTree.tostring(root)


def mat_tree(data, draw):
    data = _unpack(data)  # scipy does not outlive all that was changed before
    found = {key: value for key, value in loadmat(BytesIO(data)).items() if key[0] != "_"}
    odd = [
        *(np.zeros((0, 0)), np.zeros((0, 2)), np.zeros((3, 3)), np.array(5), np.full((4, 2), np.nan), np.array("text")),
        *(np.array([[1 + 2j, 3]]), np.full((2, 2), np.inf), np.array([["a", "bc"]]), np.ones((2, 2, 2)), {"a": 1}),
        *(
            np.array([[1e300, -1e300]]),
            np.array([[{"loc": 1}]], object),
            np.zeros((2, 2), bool),
            {"location": [[1, 2]]},
        ),
        *({"point": {"x": [1, 2]}}, np.empty((2, 2), object), np.array([[-5.0, 70000.0]])),
    ]
    key = draw.choice(list(found))
    value = found[key]
    if value.dtype.kind in "biuf" and value.size and draw.random() < 0.5:
        value = value.astype(float)
        value.flat[draw.randrange(value.size)] = draw.choice((np.nan, np.inf, -1, 1e9, 1e300, 0.5))
        found[key] = value
    elif draw.random() < 0.2:
        found[draw.choice(("other", "location", "annPoints", "points"))] = found.pop(key)
    else:
        found[key] = draw.choice(odd)
    out = BytesIO()
    savemat(out, found, do_compression=draw.random() < 0.5)
    return out.getvalue()


def png_chunks(data, draw):
    """A chunk of a PNG is changed, and its checksum with it."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    one = draw.choice(chunks[:3])
    way = draw.randrange(4)
    if way == 0:
        chunks.insert(
            draw.randrange(1, len(chunks)),
            [draw.choice((b"tRNS", b"eXIf", b"gAMA", b"zTXt", b"acTL", b"PLTE")), draw.randbytes(12)],
        )
    elif way == 1 and one[0] == b"IHDR":
        at = draw.choice((0, 4))
        one[1] = one[1][:at] + struct.pack(">I", draw.choice((0, 1, 60, 9000, 2**16, 2**31 - 1))) + one[1][at + 4 :]
    elif way == 2:
        chunks.remove(one)
    else:
        one[1] = raw(one[1], draw)
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return data[:8] + b"".join(parts)


def safetensors_header(data, draw):
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    if draw.random() < 0.7:
        name = draw.choice(list(header["__metadata__"]))
        text = header["__metadata__"][name]
        header["__metadata__"][name] = (
            json.dumps(tree(json.loads(text), draw)) if text[:1] in "{[" else draw.choice(WORDS)
        )
    else:
        header = tree(header, draw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


class Payload:
    def __reduce__(self):
        return exec, ("open('PWNED', 'w')",)


def checkpoint(data, draw):
    """Another content, with the checksums that belong to it."""
    out = BytesIO()
    if draw.random() < 0.6:
        torch.save(tree(torch.load(BytesIO(data), weights_only=True), draw), out)
        return out.getvalue()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl") and draw.random() < 0.3:
                content = pickle.dumps({"state_dict": Payload()}, 2)
            new.writestr(name, raw(content, draw) if name == chosen else content)
    return out.getvalue()


STRUCTURED = {
    **{".json": json_tree, ".yaml": yaml_tree, ".xml": xml_tree, ".mat": mat_tree, ".png": png_chunks},
    **{".safetensors": safetensors_header, ".ckpt": checkpoint},
}


def generator(seed, number):
    return random.Random(f"{seed} {number}")
