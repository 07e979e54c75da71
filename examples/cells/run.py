"""Cells under the microscope from start to end: search, retraining and the test, for one draw of the training images.

Run from the project's folder: python -m examples.cells.run --data FOLDER --images 50 --seed 0 --out runs/cells

``FOLDER`` holds the VGG cells (001cell.png, 001dots.png …). The usual protocol: N of the first 100 images, drawn by the
seed, are for training, the last 100 for testing. An interrupted run goes on when it is called again.
``python -m examples.cells.table runs/cells`` prints the figures of all runs there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.stages import duration, evaluated, retrained, searched
from nni_count import Augmentation, Budget, Cost, Counting, Crops, Decoding, SearchBudget, TrainingRecipe
from search_spaces import AMSNetSpace
from strategies import PartialChannel

TASK = Counting(sigma=2.5, kernel_size=11)  # cells are small: about 10 pixels
NO_UPSIDE = Augmentation(rotation=0, quarter_turns=True)
SIDE = 256  # of a slide, in pixels
FLOPS = 0.25e9  # of a slide


def run(data: Path, images: int, seed: int, out: Path, *, epochs: int, minutes: float) -> None:
    """Search, retrain and evaluate in ``out/N-seed``."""
    out = out / f"{images}-{seed}"
    drawn = {"path": data, "train_images": images, "train_seed": seed}
    architecture = searched(
        out / "search",
        space=AMSNetSpace(cells=6, width=64, map_stride=2, stem_stride=2),
        strategy=PartialChannel(warmup_epochs=epochs // 3, arc_learning_rate=1e-2),
        decoding=Decoding(cost=Cost("flops", FLOPS, image_size=(SIDE, SIDE))),
        budget=SearchBudget(max_epochs=epochs),
        crops=Crops(size=SIDE // 2, batch_size=4, augmentation=NO_UPSIDE),
        task=TASK,
        data=drawn,
        seed=seed,
    )
    model = retrained(
        out / "retrain",
        architecture=architecture,
        budget=Budget(max_time=duration(minutes)),
        crops=Crops(size=SIDE, batch_size=4, augmentation=NO_UPSIDE),
        recipe=TrainingRecipe(learning_rate=4e-3, average_decay=0.995, frozen_norms=0.4, validation_fraction=0),
        task=TASK,
        data=drawn,
        seed=seed,
    )
    evaluated(out / "test", model=model, data=drawn, split="test", views=8)  # a slide has no upside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/cells"))
    parser.add_argument("--epochs", type=int, default=12, help="of the search")
    parser.add_argument("--minutes", type=float, default=30, help="of the retraining")
    arguments = vars(parser.parse_args())
    run(**arguments)


if __name__ == "__main__":
    main()
