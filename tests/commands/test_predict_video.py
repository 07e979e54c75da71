import csv
import json

import av
import cv2
import numpy as np
import pytest
from data.clips import clip
from samples import untrained

from nni_count.cli import main
from nni_count.commands.predict import predict
from nni_count.data.video import Video, Watching
from nni_count.errors import DataError, SettingError
from nni_count.model import Model, save_model


@pytest.fixture
def model():
    return untrained()


def streams(path):
    """Frames of pictures with their times, and seconds of sound."""
    with av.open(str(path)) as file:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0)) if file.streams.audio else 0
    return frames, sound


@pytest.mark.rendered
def test_a_clip_is_counted_over_time(model, tmp_path, capsys):
    clip(tmp_path / "a.mp4", 4, 10, (70, 45 + 1))
    out = tmp_path / "out"
    rows = predict(tmp_path / "a.mp4", model=model, out=out, video=Watching(every="0.5s", smoothing=1))
    told = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in told] == rows
    assert [row["time"] for row in rows] == [0.5 * number for number in range(8)]
    for row, (_, frame) in zip(rows, Video(str(tmp_path / "a.mp4")).frames(0.5), strict=True):
        assert row["count"] == pytest.approx(model.count(frame), abs=0.01)
        assert row["video"] == str(tmp_path / "a.mp4")
    means = [np.mean([row["count"] for row in rows[max(0, n - 1) : n + 1]]) for n in range(8)]  # of the last second
    np.testing.assert_allclose([row["count_smoothed"] for row in rows], means, atol=0.011)
    table = list(csv.DictReader(open(out / "counts.csv")))
    assert [(float(line["time"]), float(line["count"])) for line in table] == [(r["time"], r["count"]) for r in rows]
    frames, sound = streams(out / "a_count.mp4")
    np.testing.assert_allclose([at for at, _ in frames], [row["time"] for row in rows], atol=0.002)
    assert frames[0][1].shape == (46, 70, 3)
    assert sound == pytest.approx(4, abs=0.2)
    assert cv2.imread(str(out / "a_count.png")).shape[2] == 3


def test_regions_and_several_videos_and_what_breaks_off(model, tmp_path, capsys, monkeypatch):
    whole = clip(tmp_path / "a.mkv", 6, sound=False).read_bytes()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.mkv").write_bytes(whole[: len(whole) // 2])
    square = [[0, 0], [64, 0], [64, 48], [0, 48]]
    shapes = [{"label": "all", "points": square, "shape_type": "polygon"}]
    regions = tmp_path / "regions.json"
    regions.write_text(json.dumps({"shapes": shapes, "imageWidth": 64, "imageHeight": 48}))
    videos = [tmp_path / "b" / "a.mkv", tmp_path / "a.mkv", tmp_path / "none.mp4"]
    out = tmp_path / "out"
    with pytest.raises(
        DataError, match=r"2 of 3 videos were not seen to their ends, what was is in \S+out: .*breaks off"
    ):
        predict(videos, model=model, out=out, regions=regions, metres_per_pixel=0.1)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["time"] for row in rows if row["video"] == str(videos[1])] == [0, 1, 2, 3, 4, 5]
    assert 1 <= sum(row["video"] == str(videos[0]) for row in rows) < 6
    assert all(row["regions"][0]["count"] == row["count"] for row in rows)
    assert rows[0]["square_metres"] == pytest.approx(64 * 48 / 100)
    table = list(csv.DictReader(open(out / "regions.csv")))
    assert [(line["video"], float(line["time"]), line["region"]) for line in table] == [
        (row["video"], row["time"], "all") for row in rows
    ]
    assert len(streams(out / "a_2_count.mp4")[0]) == 6
    regions.write_text(json.dumps({"shapes": shapes, "imageWidth": 64, "imageHeight": 40}))
    monkeypatch.setattr(Model, "map", None)
    with pytest.raises(DataError, match=r"drawn on 64×40 pixels, but .* has 64×48"):
        predict(videos[1], model=model, regions=regions)
    assert capsys.readouterr().out == ""


def test_joined_recordings_are_drawn_with_their_sound(model, tmp_path):
    parts = [
        clip(tmp_path / f"{start}.ts", 2, size=size, format="mpegts", start=start)
        for start, size in ((20, (96, 80)), (0, (64, 48)))
    ]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in (*parts, parts[1])))
    rows = predict(tmp_path / "joined.ts", model=model, out=tmp_path / "out")
    assert [row["time"] for row in rows] == [0, 1, 2, 3, 4, 5]
    frames, sound = streams(tmp_path / "out" / "joined_count.mp4")
    assert [image.shape for _, image in frames] == [(80, 96, 3)] * 6
    assert sound == pytest.approx(6, abs=0.3)


def test_what_was_counted_before_an_interruption_is_finished(model, tmp_path, monkeypatch):
    clip(tmp_path / "a.mp4", 4)
    seen, look = [], Model.map

    def interrupted(self, image, views=1):
        seen.append(image)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return look(self, image, views)

    monkeypatch.setattr(Model, "map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path / "a.mp4", model=model, out=tmp_path / "out")
    assert len(list(csv.DictReader(open(tmp_path / "out" / "counts.csv")))) == 2
    assert len(streams(tmp_path / "out" / "a_count.mp4")[0]) == 2
    assert (tmp_path / "out" / "a_count.png").is_file()


def test_a_video_is_no_image(model, tmp_path):
    clip(tmp_path / "a.mp4", 0.5)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(SettingError, match=r"images: \S+a.mp4 is a video, and others are none"):
        predict([tmp_path / "b.png", tmp_path / "a.mp4"], model=model)
    for name in ("maps", "points"):
        with pytest.raises(SettingError, match=rf"{name}: are of images, and \S+a.mp4 is a video"):
            predict(tmp_path / "a.mp4", model=model, out=tmp_path / "out", **{name: "csv"})


def test_the_command_line_prints_lines_of_json_alone(model, tmp_path, capsys):
    clip(tmp_path / "a.mp4", 1, sound=False)
    save_model(model, tmp_path / "m.safetensors")
    options = ["predict", str(tmp_path / "a.mp4"), "--model", str(tmp_path / "m.safetensors")]
    assert main([*options, "--every", "250ms", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["time"] for line in told.out.splitlines()] == [0, 0.3, 0.5, 0.8]
    assert main([*options, "--every", "soon"]) == 2
    assert "every: 'soon'; give seconds from 0" in capsys.readouterr().err
