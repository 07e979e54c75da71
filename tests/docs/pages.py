"""The pages for users, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))
PAGES += sorted(page for folder in ("docs/*.md", "*/README.md", "examples/*/README.md") for page in ROOT.glob(folder))


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def prose(page):
    """What stands outside the fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def tables(page):
    """Every row of every table, as its cells."""
    rows = [line for line in prose(page).splitlines() if line.lstrip().startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))] for row in rows]
