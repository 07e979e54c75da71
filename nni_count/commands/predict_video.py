"""What a model reads from videos, streams and cameras over time: live, as a table, a plot and drawn over them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nni_count.data.images import scaled_down
from nni_count.data.video import Video
from nni_count.errors import DataError
from nni_count.model import Estimator
from nni_count.pictures.videos import AnnotatedVideo, draw_over_time, suffix_for
from nni_count.runs.files import free_name, whole
from nni_count.runs.tables import GrowingTable, rounded
from nni_count.tasks.regions import Survey


def watch(
    videos: Sequence[Video],
    model: Estimator,
    every: float,
    smoothing: float,
    views: int,
    survey: Survey | None,
    folder: Path | None,
) -> list[dict[str, Any]]:
    """Estimate frames of videos, one video after another, and print each row as a line of JSON as soon as it is known.

    Args:
        videos: seen to their ends, or until they are interrupted.
        model: that estimates.
        every: seconds between frames; 0 is every frame.
        smoothing: seconds over which numbers are averaged; 0 is not at all.
        views: of each frame.
        survey: of regions and areas.
        folder: gets the table, and a plot and the annotated video of each.

    Returns:
        For every frame that was estimated its ``video``, ``time`` in seconds, and what is read from it.

    Raises:
        DataError: some could not be opened, or broke off; the others are estimated before.
    """
    noun = model.task.noun
    table = of_regions = None
    if folder is not None:
        table = GrowingTable(folder / f"{noun}s.csv", ["video", "time"])
        of_regions = (
            GrowingTable(folder / "regions.csv", ["video", "time", "region"]) if survey and survey.read else None
        )
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    taken: set[str] = set()
    for video in videos:
        seen, recent, ended = list[dict[str, Any]](), deque[tuple[float, dict[str, float]]](), None
        stem = free_name(Path(video.name).stem, f"_{noun}", taken)
        with _Overlays(folder and folder / stem, video, model, survey) as overlays:
            try:
                for at, frame in video.frames(every):
                    image, shape = scaled_down(frame, model.max_side), (frame.shape[0], frame.shape[1])
                    if survey:
                        survey.covered(Path(video.name), shape)  # else nothing is estimated
                    estimate = model.map(image, views)
                    numbers = model.task.numbers(estimate) | (
                        survey.whole(Path(video.name), shape, estimate) if survey else {}
                    )
                    row = {"video": video.name, "time": round(at, 3), **rounded(numbers)}
                    if smoothing:
                        recent.append((at, numbers))
                        while recent[0][0] <= at - smoothing:
                            recent.popleft()
                        means = {n: float(np.mean([one[n] for _, one in recent])) for n in numbers}
                        row |= {f"{name}_smoothed": value for name, value in rounded(means).items()}
                    regions = [rounded(r) for r in survey.regions(Path(video.name), shape, estimate)] if survey else []
                    seen.append(row | ({"regions": regions} if regions else {}))
                    print(json.dumps(seen[-1]), flush=True)
                    if table is not None:
                        table.add(row)
                    if of_regions is not None:
                        of_regions.add(*({"video": row["video"], "time": row["time"], **one} for one in regions))
                    overlays.add(at, image, shape, estimate, regions)
            except DataError as error:
                faults.append(str(error))
            except KeyboardInterrupt as error:  # how a stream ends
                ended = error
            overlays.finish(seen[-1]["time"] + (every or 0.04) if seen else 0)
        rows += seen
        if folder is not None and seen:
            names = [name for name, value in seen[0].items() if isinstance(value, float) and "_metre" not in name]
            draw_over_time(seen, names[1:], folder / f"{stem}.png")
        if ended:
            raise ended
    if faults:
        others = "" if folder is None or not rows else f", what was is in {folder}"
        raise DataError(
            f"{len(faults)} of {len(videos)} videos were not seen to their ends{others}: " + "; ".join(faults)
        )
    return rows


class _Overlays:
    """The annotated video, drawn and written while the next frame is estimated; nothing where there is no path.

    Args:
        path: of it, without its suffix.
        video: whose sound it has.
        model: that drew.
        survey: that outlines regions.
    """

    def __init__(self, path: Path | None, video: Video, model: Estimator, survey: Survey | None):
        self.path, self.video, self.model, self.survey = path, video, model, survey
        self.file: AnnotatedVideo | None = None
        self.stack, self.worker = ExitStack(), ThreadPoolExecutor(1)
        self.pending: Future[None] | None = None

    def __enter__(self) -> _Overlays:
        return self

    def __exit__(self, *error: Any) -> None:
        self.worker.shutdown()
        self.stack.__exit__(*error)

    def add(self, *frame: Any) -> None:
        """Draw a frame by the arguments of :meth:`_draw`, once the one before is drawn."""
        if self.path is not None:
            self._wait()
            self.pending = self.worker.submit(self._draw, *frame)

    def finish(self, end: float) -> None:
        self._wait()
        if self.file is not None:
            self.file.finish(end)

    def _wait(self) -> None:
        if self.pending is not None:
            self.pending.result()

    def _draw(
        self, at: float, image: np.ndarray, shape: tuple[int, int], estimate: np.ndarray, regions: Sequence[Any]
    ) -> None:
        picture = self.model.task.draw(image, estimate)
        if self.survey and regions:
            self.survey.draw(picture, Path(self.video.name), shape, regions)
        if self.file is None:
            original = None if self.video.live else self.stack.enter_context(self.video.open())
            path = self.stack.enter_context(whole(f"{self.path}{suffix_for(original)}"))
            self.file = AnnotatedVideo(path, original, (picture.shape[1], picture.shape[0]))
        self.file.add(at, picture)
