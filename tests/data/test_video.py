import socket
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest
from data.clips import clip

from nni_count.data import video
from nni_count.data.images import read_image
from nni_count.data.video import Video, Watching, is_video
from nni_count.errors import DataError, Note, SettingError


def times(path, every):
    return [at for at, _ in Video(str(path)).frames(every)]


def test_frames_are_taken_every_so_many_seconds(tmp_path):
    clip(tmp_path / "a.mp4", 120, 5, (16, 16), sound=False)
    found = times(tmp_path / "a.mp4", 0.5)
    assert len(found) == 240
    np.testing.assert_allclose(found, np.arange(240) / 2, atol=0.2)
    assert len(times(tmp_path / "a.mp4", 60)) == 2
    clip(tmp_path / "late.mkv", 1, 10, start=7)
    frames = list(Video(str(tmp_path / "late.mkv")).frames(0))
    np.testing.assert_allclose([at for at, _ in frames], np.arange(10) / 10, atol=1e-6)
    assert [image.shape for _, image in frames] == [(48, 64, 3)] * 10
    assert np.all(np.diff([image.mean() for _, image in frames]) > 5)
    for path in (tmp_path / "a.MP4", "rtsp://camera/1", "/dev/null"):
        assert is_video(path)
    assert not is_video(tmp_path / "a.jpg")


def test_what_ends_early_or_was_never_one_is_said(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        tone = file.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux(tone.encode(frame))
        file.mux(tone.encode())
    clip(tmp_path / "whole.mp4")
    whole = clip(tmp_path / "whole.mkv", 10).read_bytes()
    (tmp_path / "no end.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:2000])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.avi").write_text("not a video" * 100)
    (tmp_path / "head.mkv").write_bytes(whole[:1200])
    for name, what in (
        ("sound.mp4", "has no pictures; give a video"),
        ("no end.mp4", "cannot be opened as a video .*; check the path, and whether it plays"),
        ("empty.mp4", "cannot be opened as a video"),
        ("text.avi", "cannot be opened as a video"),
        ("none.mp4", "cannot be opened as a video .*No such file"),
        ("head.mkv", "has no frame that can be decoded|cannot be opened"),
    ):
        with pytest.raises(DataError, match=rf"{name}: ({what})"):
            times(tmp_path / name, 1)
    (tmp_path / "broken.mkv").write_bytes(whole[: len(whole) // 2])
    found = []
    with pytest.raises(
        DataError, match=r"broken.mkv: breaks off after [3-7]\.\d s of 10.0 s.*; what was counted until there"
    ):
        for at, _ in Video(str(tmp_path / "broken.mkv")).frames(1):
            found.append(at)
    assert 3 < len(found) < 9
    noise = np.random.default_rng(0).integers(0, 256, len(whole) // 3, np.uint8).tobytes()
    (tmp_path / "noise.mkv").write_bytes(whole[: len(whole) * 2 // 3] + noise)
    with pytest.raises(DataError, match=r"noise.mkv: breaks off after"):
        times(tmp_path / "noise.mkv", 1)


def test_recordings_that_were_joined_are_seen_to_their_ends(tmp_path):
    """As ``cat`` joins them: the clock goes back at each, to where it began, before that or after it."""
    small, late, soon = (
        clip(tmp_path / f"{start}.ts", seconds, size=size, sound=False, format="mpegts", start=start)
        for seconds, size, start in ((2, (64, 48), 0), (3, (96, 80), 40), (0.5, (64, 48), 10))
    )
    joined = tmp_path / "joined.ts"
    for parts in ((small, small), (late, small), (soon, soon, soon), (small, soon, soon), (small, small, small)):
        joined.write_bytes(b"".join(part.read_bytes() for part in parts))
        frames = {small: 20, late: 30, soon: 5}
        found = times(joined, 0)
        np.testing.assert_allclose(found, np.arange(sum(frames[part] for part in parts)) / 10, atol=1e-3)
        assert len(times(joined, 1)) == -(-len(found) // 10)
    joined.write_bytes(late.read_bytes() + small.read_bytes())
    assert [image.shape for _, image in Video(str(joined)).frames(2)] == [(80, 96, 3)] * 2 + [(48, 64, 3)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.flv", "a.wmv"])
def test_an_appended_video_that_readers_leave_out_is_said(tmp_path, name, recwarn):
    alone = clip(tmp_path / name, 2, sound=False)
    times(alone, 0)
    assert not recwarn.list
    both = tmp_path / f"both{alone.suffix}"
    both.write_bytes(alone.read_bytes() * 2)
    with pytest.warns(UserWarning, match=rf"{both.name}: ends after 1.9 s, where another video was appended"):
        assert len(times(both, 0)) == 20


def test_times_that_are_out_of_order_are_put_in_order(tmp_path):
    """As AVI has them, whose times are those of decoding."""
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        picture = file.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * number, np.uint8), format="rgb24")
            file.mux(picture.encode(frame))
        file.mux(picture.encode())
    with av.open(str(tmp_path / "a.avi")) as file:
        assert min(np.diff([frame.time for frame in file.decode(video=0)])) < 0  # else this tests nothing
    found = times(tmp_path / "a.avi", 0)
    assert len(found) == 50
    assert min(np.diff(found)) > 0.001
    assert max(found) == pytest.approx(49 / 25, abs=0.1)


def test_a_stream_that_breaks_off_is_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "WAITS", (0, 0.05))
    data = clip(tmp_path / "a.ts", 2, format="mpegts").read_bytes()
    server = socket.create_server(("127.0.0.1", 0))
    calls = []

    def serve():
        for share in (0.5, 1.0):
            connection, _ = server.accept()
            calls.append(share)
            connection.sendall(data[: int(len(data) * share)])
            connection.close()
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    source = Video(f"tcp://127.0.0.1:{server.getsockname()[1]}")
    found = []
    with (
        pytest.warns(Note, match=r"tcp://127.0.0.1:\d+: broke off .*; it is opened again"),
        pytest.raises(DataError, match=r"tcp://127.0.0.1:\d+: (breaks off|cannot be opened)"),
    ):
        found.extend(source.frames(0))
    assert calls == [0.5, 1.0]
    assert len(found) >= 2
    assert np.all(np.diff([at for at, _ in found]) > 0)
    with pytest.raises(DataError, match=r"cannot be opened as a video \(Connection refused\); check the address"):
        list(source.frames(1))


def test_an_address_of_a_file_ends_with_it(tmp_path):
    """It is as long as it is; a photo is none."""
    clip(tmp_path / "a.mp4", 2)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{server.server_port}"
    assert times(f"{where}/a.mp4", 0.5) == pytest.approx(times(tmp_path / "a.mp4", 0.5))
    with pytest.raises(DataError, match=r"a.png: is a photo and no video; give its file"):
        times(f"{where}/a.png", 0.5)
    server.shutdown()
    server.server_close()


def test_a_frame_has_the_colours_of_a_photo(tmp_path):
    """Half as many colours as pixels are stored: those between are made as readers of JPEG make them."""
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    cv2.imwrite(str(tmp_path / "a.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    with av.open(str(tmp_path / "a.jpg")) as file:
        ((_, frame),) = ((0, video._upright(frame)) for frame in file.decode(video=0))
    assert np.abs(frame.astype(int) - read_image(tmp_path / "a.jpg")).mean() < 0.6


def test_a_clip_that_its_camera_turned_is_upright(tmp_path):
    """As telephones that are held upright write them: a quarter clockwise brings what is on the left to the top."""
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        picture = file.add_stream("libx264", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:, :32] = 255
        for _ in range(3):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(picture.encode())
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    for _, image in Video(str(tmp_path / "a.mp4")).frames(0):
        assert image.shape == (64, 48, 3)
        assert image[:24].mean() > 240 > 10 > image[40:].mean()


def test_addresses_are_named_without_their_passwords():
    assert Video("rtsp://admin:secret@camera:554/1").name == "rtsp://camera:554/1"
    assert Video("a@b.mp4").name == "a@b.mp4"


def test_times_have_units():
    found = Watching("500ms", "2 min").seconds
    assert found == (0.5, 120)
    assert (Watching(0.25, "1s").seconds, Watching("0", ".5").seconds) == ((0.25, 1), (0, 0.5))
    for wrong in ("-1", "1 day", "nan", "", -2, "0.5.1"):
        with pytest.raises(
            SettingError, match=r"video.every: .*; give seconds from 0, such as 0.5, 0.5s, 500ms or 2min"
        ):
            _ = Watching(every=wrong).seconds
