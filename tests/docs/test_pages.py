"""The pages' commands are ones that can be given, and their links lead somewhere.

A shell reads the blocks, so that loops, variables and continued lines mean what they mean to a reader; in the place of
every program stands one that writes down how it was called. What the calls of ``nni-count`` say is then asked of the
command line itself, by ``--print_config``: it parses as for a run, and runs nothing.
"""

import argparse
import inspect
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from urllib.parse import unquote

import pytest
import yaml
from docs.pages import PAGES, ROOT, blocks, name_of, prose

import nni_count
from nni_count.cli import COMMANDS, main

#: pages whose commands are all run, by tests of their own
RUN = (ROOT / "docs" / "tasks.md", ROOT / "docs" / "spaces.md", ROOT / "examples" / "own_data" / "README.md")
PROGRAMS = ("nni-count", "nnictl", "python", "make", "pip")
NOTE = '#!/bin/sh\n{ basename "$0"; pwd; for word in "$@"; do echo "$word"; done; echo; } >> "$CALLS"\n'


@pytest.fixture(scope="module")
def read_by_a_shell(tmp_path_factory):
    """A function: shell text → the calls that it makes, as (program, words, folder below the project's)."""
    place = tmp_path_factory.mktemp("shell")
    (place / "bin").mkdir()
    for program in PROGRAMS:
        (place / "bin" / program).write_text(NOTE)
        (place / "bin" / program).chmod(0o755)
    shutil.copytree(ROOT / "examples", place / "project" / "examples")

    def calls(text):
        record = place / "calls"
        record.write_text("")
        environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "CALLS": str(record), "HOME": str(place)}
        said = subprocess.run(
            ["bash", "-e"], input=text, cwd=place / "project", env=environment, text=True, capture_output=True
        )
        assert said.returncode == 0, said.stderr
        found = [call.split("\n") for call in record.read_text().split("\n\n") if call]
        return [(program, words, os.path.relpath(folder, place / "project")) for program, folder, *words in found]

    return calls


def required(command):
    """Settings that a command must be given."""
    parameters = inspect.signature(getattr(nni_count, command)).parameters.values()
    return {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}


def check_nni_count(words, capsys):
    """Whether the command line takes a call."""
    command, *options = words
    assert command in COMMANDS
    again = "--config" in options and options[options.index("--config") + 1].endswith("/config.yaml")
    if again:  # what a run left, which is not there
        place = options.index("--config")
        del options[place : place + 2]
    with pytest.raises(SystemExit) as end:
        code = main([command, *options, "--print_config"])
        pytest.fail(f"exit code {code}: {capsys.readouterr().err}")
    assert end.value.code == 0
    given = yaml.safe_load(capsys.readouterr().out)
    if hasattr(nni_count, command) and not again:
        assert [name for name in required(command) if given.get(name) is None] == []


def check_script(words, monkeypatch):
    """Whether a script is there and takes the options: it is run as far as its command line."""
    script = ROOT / (words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0])
    assert script.is_file(), script
    given = words[2:] if words[0] == "-m" else words[1:]
    parsed = []

    class Parsed(Exception):
        """Nothing else of the script is run."""

    def parse(parser, arguments=None, namespace=None):
        parsed.append(usual(parser, given))
        raise Parsed

    usual = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [str(script), *given])
    monkeypatch.syspath_prepend(str(script.parent))
    if "argparse" in script.read_text() or "print_table" in script.read_text():
        with pytest.raises(Parsed):
            runpy.run_path(str(script), run_name="__main__")
        assert parsed


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN], ids=name_of)
def test_commands_can_be_given(page, read_by_a_shell, monkeypatch, capsys):
    texts = blocks(page, "sh")
    inside = re.findall(r"`((?:nni-count|nnictl|python|make) [^`]+)`", prose(page))
    texts += [
        " ".join(text.split()) for text in inside if "COMMAND" not in text and len(text.split()) > 2
    ]  # shorter ones are names
    for text in texts:
        for program, words, folder in read_by_a_shell(text):
            with monkeypatch.context() as patch:
                patch.chdir(ROOT / folder)
                if program == "nni-count":
                    check_nni_count(words, capsys)
                elif program == "python":
                    check_script(words, patch)
                elif program == "make":
                    assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
                elif "--config" in words and "remote_config.yml" not in words:
                    file = yaml.safe_load((ROOT / folder / words[words.index("--config") + 1]).read_text())
                    program, *trial = shlex.split(re.sub(r"\$\{\w+:[-+]([^}]*)\}", r"\1", file["trialCommand"]))
                    patch.chdir((ROOT / folder / words[words.index("--config") + 1]).parent)
                    check_nni_count([*trial, "--out", "run"], capsys)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_commands_is_tried(page):
    fences = re.findall(r"^```(.*)\n(?:.*\n)*?```$", page.read_text(), re.M)
    assert set(fences) <= {"sh", "python", "toml", "text", "mermaid"}
    for text in blocks(page, "text"):
        assert not re.search(rf"^({'|'.join(PROGRAMS)})\b", text, re.M)


def anchors(page):
    """Those that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("http"):
            path, _, anchor = unquote(target).partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_the_readme_is_read_in_five_minutes_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "benchmarks" / "README.md"]:
        near = [text, *(other.read_text() for other in ROOT.glob("docs/*.md") if other != page)]
        assert any(name_of(page).removeprefix("docs/") in other for other in near), f"nothing leads to {name_of(page)}"
    for page in ROOT.glob("docs/*.md"):
        assert f"({name_of(page)})" in text
