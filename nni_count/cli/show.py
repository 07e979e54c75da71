"""What a person wants to see at the end of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def show(command: str, answer: Any, out: str | None, table: Callable[[Any], str] | None) -> None:
    """Print a command's answer, as its own table where it has one, and where its files are."""
    if table:
        print(table(answer))
    elif command == "predict":
        if answer and "video" in answer[0]:
            return  # its rows were printed as they came, and others read them
        for row in answer:
            for one in (row, *row.get("regions", ())):
                numbers = [f"{value:10.2f}" for value in one.values() if isinstance(value, (int, float))]
                print(*numbers, one.get("image") or f"  {one['region']}", sep="  ")
    elif command == "retrain":
        facts, metric = answer.facts, answer.task.main_metric
        figure = facts[f"validation_{metric}"]
        judged = "no validation" if figure is None else f"validation {metric.upper()} {figure:.2f}"
        print(
            f"{answer.parameters:,} parameters, {judged} "
            f"({facts['weights']} weights of step {facts['step']} of {facts['steps']})"
        )
        if words := answer.task.beside_constant(figure, facts[f"constant_{metric}"]):
            print(words)
    elif command == "trial":
        metric = answer["main_metric"]
        print(f"validation {metric.upper()} {answer[metric]:.2f}, {answer['parameters']:,} parameters")
    elif isinstance(answer, str):
        print(answer)
    if out:
        print(f"written to {out}")
