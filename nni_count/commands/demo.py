"""The demonstration: all commands, end to end, on synthetic crowds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from nni_count.commands.evaluate import evaluate
from nni_count.commands.evaluate import table as table  # which the command line shows
from nni_count.commands.predict import predict
from nni_count.commands.retrain import retrain
from nni_count.commands.search import search
from nni_count.data.synthetic.sets import SyntheticCrowds
from nni_count.plugins import load
from nni_count.runs.files import write_image
from nni_count.runs.ranges import Range
from nni_count.runs.run import open_run
from nni_count.searching.settings import SearchBudget
from nni_count.training.settings import Budget, Crops, TrainingRecipe

CELLS, WIDTH, MAP_STRIDE = 6, 32, 4


def demo(*, out: str | Path = "runs/demo", seed: Annotated[int, Range(0, 4294967295)] = 0) -> dict[str, Any]:
    """Search, retrain, evaluate and predict on synthetic crowds; minutes on two cores.

    Args:
        out: folder; gets ``search``, ``retrain``, ``evaluate`` and ``predict``, each a run folder.
        seed: of all draws.

    Returns:
        The evaluation on fresh images, as :func:`nni_count.evaluate` gives it.
    """
    run = open_run(out, "demo", {"out": out, "seed": seed})
    data = SyntheticCrowds(train=300, test=60, size=256, seed=seed)
    space, strategy = load("space", "AMSNetSpace"), load("strategy", "GDAS")  # the toolkit imports neither package

    print("1/4  searching the cells and the loss pyramid …", flush=True)
    architecture = search(
        data=data,
        space=space(cells=CELLS, width=WIDTH, map_stride=MAP_STRIDE),
        strategy=strategy(warmup_epochs=1 / 3, arc_learning_rate=3e-3),
        out=run.folder / "search",
        budget=SearchBudget(max_epochs=6, limit_train_batches=12, max_time="00:00:01:00"),
        crops=Crops(size=96, batch_size=4),
        seed=seed,
    )
    print("2/4  retraining what was found …", flush=True)
    model = retrain(
        data=data,
        architecture=architecture,
        out=run.folder / "retrain",
        budget=Budget(max_steps=450, max_time="00:00:01:50"),
        crops=Crops(size=128, batch_size=6),
        recipe=TrainingRecipe(learning_rate=3e-3, average_decay=0.98),
        seed=seed,
    )
    print("3/4  evaluating on fresh images …", flush=True)
    report = evaluate(model=model, data=data, out=run.folder / "evaluate")
    print("4/4  counting in images …", flush=True)
    predict(_photos(run.folder / "photos", data), model=model, out=run.folder / "predict")
    print(f"look at {run.folder}/search/cells.png, {run.folder}/evaluate/worst.png and {run.folder}/predict")
    return report


def _photos(folder: Path, data: SyntheticCrowds) -> Path:
    folder.mkdir()
    for sample in data.samples("test")[:6]:
        write_image(folder / f"{sample.name}.png", sample.read())
    return folder
