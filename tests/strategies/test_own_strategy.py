"""The strategy that the contributors' page shows, run from the page."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from small_space import SmallSpace
from torch import nn

from nni_count.testing.strategies import StrategyContract
from search_spaces import AMSNetSpace

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"
CODE, CONTRACT = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

pytestmark = pytest.mark.filterwarnings("ignore")


def module_of(name, code):
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(code, f"{PAGE}: {name}", "exec"), module.__dict__)
    return module


two_paths = module_of("two_paths", CODE)
OnThePage = module_of("test_two_paths", CONTRACT).TestTwoPaths


class TestTwoPaths(OnThePage):
    def space(self):
        return SmallSpace(width=16, map_stride=4)


def test_the_page_shows_a_whole_strategy_in_under_60_lines():
    assert len(CODE.splitlines()) < 60
    assert issubclass(OnThePage, StrategyContract)
    assert OnThePage.strategy is two_paths.TwoPaths
    assert type(OnThePage().space()) is AMSNetSpace


def test_two_candidates_are_computed():
    space = two_paths.TwoPaths().mutate_model(AMSNetSpace(width=16, map_stride=4))
    layer = space.network.cells[0].edges["0-2"]
    layer.resample({})
    called = []
    for name in layer.names:
        layer[name].register_forward_hook(lambda *_, name=name: called.append(name))
    layer(torch.rand(1, 1, 8, 8))
    assert called == [layer.names[number] for number in layer.drawn]
    assert len(set(called)) == 2
    assert isinstance(layer, nn.Module)
