"""Files of strangers become plain values within bounds, or one short line."""

import os
import time

import pytest

from nni_count.errors import NNICountError, shortened
from nni_count.runs.plain import check_plain, dump_yaml, parse_json, parse_yaml, read_json, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 25))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d: 2001-01-01", "line 1: timestamp is no plain value; write it as text, in quotes"),
        ("a: 1\nd: !!binary aGk=", "line 2: binary is no plain value"),
        ("d: !!set {a}", "set is no plain value"),
        ("!!python/object/apply:os.mkdir [pwned]", "is no plain value"),
        ("d: &x [*x]", "more than 100,000 values"),
        (BOMB, "more than 100,000 values"),
        (MERGED, "more than 100,000 values"),
        (f"[{'1, ' * 300_000}]", "more than 100,000 values"),
        ("[" * 5000, "depth|levels"),
        (f"{'- ' * 60}1", "levels"),
        ("!!int abc", "int"),
        ("!!int ''", "plain values"),
        ("!!bool [x]", "line 1"),
        ("!!bool x", "plain values"),
        (f"x: {'1:' * 50_000}1", "too many digits"),
        (f"x: 0x{'f' * 100_000}", "too many digits"),
        ("x: 18446744073709551616", "x: a number of 65 bits"),
        ("? [a]\n: 1", "unhashable"),
        ("\0", "not YAML"),
        ('"\\ud800"', "not YAML"),
        ("a\n---\nb", "line 2"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}", "line 2: the key 'c' occurs twice"),
        ("0: 1\n1: 2\n0: 3", "line 3: the key '0' occurs twice"),
        ("x: &m {a: 1}\ny: {<<: *m, a: 2, a: 3}", "the key 'a' occurs twice"),
    ],
)
def test_what_is_not_plain_or_too_much_is_refused_at_once(text, message):
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)
    assert time.process_time() - start < 1


def test_what_is_plain_comes_back():
    value = {"a": [1, 2.5, None, True, "2001-01-01", "ä\U0001f600\n"], 3: {0: "skip", 1: ""}, "huge": 1 << 62}
    assert parse_yaml(dump_yaml(value)) == value
    both = [1]
    assert parse_yaml(dump_yaml([both, both])) == [[1], [1]]
    assert "&" not in dump_yaml([both, both])
    for text, plain in (("010", 10), ("-07", -7), ("0", 0), ("0x1F", 31), ("1:00:00:00", "1:00:00:00")):
        assert parse_yaml(f"x: {text}") == {"x": plain}  # as on the command line, whatever YAML 1.1 says
        assert parse_yaml(dump_yaml({"x": plain})) == {"x": plain}
    assert parse_yaml("x: 1:30.5") == {"x": "1:30.5"}
    merged = "x: &m {<<: {a: 3}, a: 1}\ny: {<<: *m, a: 2}"
    assert parse_yaml(merged) == {"x": {"a": 1}, "y": {"a": 2}}
    assert parse_yaml("x: &m {a: 1}\ny: {<<: *m, b: 2}") == {"x": {"a": 1}, "y": {"a": 1, "b": 2}}


def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * (2 << 20))
    for read in (read_yaml, read_json):
        for path in (tmp_path / "pipe", "/dev/zero"):
            with pytest.raises(ValueError, match="a pipe or a device"):
                read(path)
        for path in (tmp_path, tmp_path / "missing"):
            with pytest.raises(OSError, match=str(path)):
                read(path)
    with pytest.raises(ValueError, match="more than 1 MB"):
        read_yaml(tmp_path / "large")
    with pytest.raises(ValueError, match="levels"):
        parse_json("[" * 100_000)


def test_what_cannot_be_written_is_named():
    import datetime

    import numpy as np

    for value in (datetime.date(2001, 1, 1), {1}, b"x", np.float32(1), 1 << 70, "\ud800", object()):
        with pytest.raises(ValueError, match=r"\[1\]|surrogates"):
            check_plain({"a": {"b": [0, value]}})


def test_a_line_is_short_and_keeps_place_and_remedy():
    line = str(NNICountError(f"file.yaml: found {'x' * 100_000}; give another"))
    assert len(line) <= 500
    assert line.startswith("file.yaml: found")
    assert line.endswith("; give another")
    assert shortened("short") == "short"
