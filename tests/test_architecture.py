import copy
import datetime

import numpy as np
import pytest
import yaml
from conftest import random_architecture
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_count.architecture import Architecture, read_architecture, write_architecture
from nni_count.errors import ArchitectureError


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_written_is_read_again(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("architecture") / "architecture.yaml"
    architecture = random_architecture(seed)
    write_architecture(architecture, path)
    assert read_architecture(path) == architecture


def test_the_file_reads_like_the_cell(tmp_path, architecture):
    write_architecture(architecture, tmp_path / "a.yaml")
    text = (tmp_path / "a.yaml").read_text()
    assert text.startswith("format: nni-count-architecture/1\n")
    edges = architecture.extraction[2]
    assert f"  2: {{0: {edges[0]}, 1: {edges[1]}}}\n" in text


def fault(place, value, message):
    return pytest.param(place, value, message, id=message)


REMOVED = object()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        fault(("extraction", 3, 1), "conv_9x9", r"extraction.3.1: unknown operation 'conv_9x9'; known: conv_1x1"),
        fault(("extraction", 4), REMOVED, r"extraction: node 4 is missing"),
        fault(("extraction", 7), {0: "skip"}, r"extraction: node 6 is missing; nodes are numbered on from 2"),
        fault(("extraction", 1), {0: "skip"}, r"extraction: unexpected node 1; nodes are numbered from 2"),
        fault(("extraction", "6"), {0: "skip"}, r"extraction: unexpected node '6'"),
        fault(("extraction",), {}, r"extraction: node 2 is missing"),
        fault(("fusion", 3), {4: "skip"}, r"fusion.3: an edge comes from 4; only nodes 0 to 2 lie before it"),
        fault(("fusion", 3), {3: "skip"}, r"fusion.3: an edge comes from 3"),
        fault(("fusion", 3), {-1: "skip"}, r"fusion.3: an edge comes from -1"),
        fault(("fusion", 3), {}, r"fusion.3: expected edges"),
        fault(("fusion", 3), "skip", r"fusion.3: expected edges"),
        fault(("fusion",), REMOVED, r"fusion: missing"),
        fault(("fusion",), [1, 2], r"fusion: expected nodes"),
        fault(("pooling",), [], r"pooling: expected a list of poolings"),
        fault(("pooling",), ["avg_2x2", "min_2x2", "avg_2x2"], r"pooling\[1\]: unknown pooling 'min_2x2'"),
        fault(("pooling",), 3, r"pooling: expected a list of poolings"),
        fault(("format",), "nni-count-architecture/2", r"format: expected 'nni-count-architecture/1', found"),
        fault(("format",), REMOVED, r"format: expected 'nni-count-architecture/1', found None"),
        fault(("celss",), {}, r"celss: unknown entry"),
        fault(("network",), "wide", r"network: expected settings"),
        fault(("pooling",), [["avg_2x2"]], r"pooling\[0\]: unknown pooling \['avg_2x2'\]"),
        fault(("fusion", 3), {0: ["skip"]}, r"fusion.3.0: unknown operation \['skip'\]"),
        fault(("pooling",), ["avg_2x2"] * 100, r"pooling: has 100 entries; at most 64"),
        fault(("extraction",), {n: {0: "skip"} for n in range(2, 102)}, r"extraction: has 100 entries; at most 64"),
        fault(("provenance",), {"d": datetime.date(2001, 1, 1)}, r"cannot be read .*timestamp is no plain value"),
        fault(("provenance",), {"d": b"hi"}, r"cannot be read .*binary is no plain value"),
        fault(("provenance",), {"d": {1, 2}}, r"cannot be read .*set is no plain value"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path, place, value, message):
    data = copy.deepcopy(random_architecture(1).to_dict())
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path = tmp_path / "architecture.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ArchitectureError, match=rf"architecture.yaml: {message}"):
        read_architecture(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{a: [", "not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "expected an architecture"),
        (b"[1]", "found list"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "architecture.yaml"
    path.write_bytes(content)
    with pytest.raises(ArchitectureError, match=message):
        read_architecture(path)
    with pytest.raises(ArchitectureError, match="cannot be read"):
        read_architecture(tmp_path / "missing.yaml")


def test_a_yaml_file_cannot_run_code(tmp_path):
    path = tmp_path / "architecture.yaml"
    path.write_text("!!python/object/apply:os.mkdir [pwned]")
    with pytest.raises(ArchitectureError, match="not YAML"):
        read_architecture(path)


def test_what_could_not_be_saved_is_refused_before_anything_is_trained():
    data = random_architecture(2).to_dict()
    for section in ("network", "provenance"):
        for value in (datetime.date(2001, 1, 1), np.float32(1), {1}, "\ud800", (data, {"x": object()})):
            with pytest.raises(ArchitectureError, match=f"{section}|surrogates"):
                Architecture.from_dict({**data, section: {"d": value}})


def test_node_numbers_are_not_truth_values():
    data = random_architecture(2).to_dict()
    data["fusion"][3] = {True: "skip"}
    with pytest.raises(ArchitectureError, match="comes from True"):
        Architecture.from_dict(data)
