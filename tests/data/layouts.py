"""Small data sets in the genuine layout of every reader, of images and points that are given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
from conftest import write_mat
from scipy.io import savemat

WIDTH, HEIGHT = 64, 48
SCENES = "100100", "200100"  # WorldExpo's, in training and in test

Points = list[np.ndarray | None]  # None: the annotation is missing


class Written:
    """What was written: an image for all points, and where those of each image stand."""

    def __init__(self) -> None:
        self.images: list[Path] = []
        self.annotations: list[Path] = []


def image(path: Path, written: Written, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    written.images.append(path)
    return path


def mat(path: Path, written: Written, points: np.ndarray | None, key: str = "annPoints") -> None:
    written.annotations.append(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if points is not None:
        savemat(path, {key: points})


def mat_7_3(path: Path, **variables: np.ndarray) -> None:
    """As MATLAB writes version 7.3: HDF5 behind a header of 512 bytes, arrays by columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            stored = np.asarray(values, float)
            if stored.size:
                file[name] = stored.T
            else:
                file[name] = np.array(stored.shape, np.uint64)
                file[name].attrs["MATLAB_empty"] = np.uint8(1)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def shanghaitech(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        folder, number = (root / "train_data", index + 1) if index < train else (root / "test_data", index + 1 - train)
        image(folder / "images" / f"IMG_{number}.jpg", written, index)
        path = folder / "ground-truth" / f"GT_IMG_{number}.mat"
        written.annotations.append(path)
        path.parent.mkdir(exist_ok=True)
        if found is not None:
            write_mat(path, found)


def ucf_cc_50(root: Path, points: Points, train: int, written: Written) -> None:
    for number, found in enumerate(points, 1):
        image(root / f"{number}.jpg", written, number)
        mat(root / f"{number}_ann.mat", written, found)


def ucf_qnrf(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        folder, number = (root / "Train", index + 1) if index < train else (root / "Test", index + 1 - train)
        image(folder / f"img_{number:04d}.jpg", written, index)
        mat(folder / f"img_{number:04d}_ann.mat", written, found)


def worldexpo(root: Path, points: Points, train: int, written: Written) -> None:
    corners = {"maskVerticesXCoordinates": [[1], [65], [65], [1]], "maskVerticesYCoordinates": [[1], [1], [49], [49]]}
    for index, found in enumerate(points):
        part, scene, between = ("train", SCENES[0], "") if index < train else ("test", SCENES[1], SCENES[1])
        image(root / f"{part}_frame" / between / f"{scene}_{index}.jpg", written, index)
        path = root / f"{part}_label" / scene / f"{scene}_{index}.mat"
        written.annotations.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if found is not None and index % 2:
            mat_7_3(path, point_position=found + 0.5, point_num=[[len(found)]])
        elif found is not None:
            savemat(path, {"point_position": found + 0.5, "point_num": len(found)})
        savemat(path.parent / "roi.mat", corners)


def mall(root: Path, points: Points, train: int, written: Written) -> None:
    frames = np.empty((1, sum(found is not None for found in points)), object)
    for index, found in enumerate(points):
        image(root / "frames" / f"seq_{index + 1:06d}.jpg", written, index)
        if found is not None and index < frames.size:
            frames[0, index] = np.empty((1, 1), [("loc", object)])
            frames[0, index][0, 0] = (found,)
    written.annotations += [root / "mall_gt.mat"] * len(points)
    savemat(root / "mall_gt.mat", {"frame": frames, "count": np.zeros((len(points), 1))})


def jhu_crowd(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        folder = root / ("train" if index < train else "test")
        image(folder / "images" / f"{index:04d}.jpg", written, index)
        path = folder / "gt" / f"{index:04d}.txt"
        written.annotations.append(path)
        path.parent.mkdir(exist_ok=True)
        if found is not None:
            path.write_text("".join(f"{x!r} {y!r} 12 14 1 0 \n" for x, y in found.tolist()))
        (folder / "image_labels.txt").write_text("0000,3,stadium,0,0\n")


def nwpu(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        image(root / f"images_part{1 + index % 2}" / f"{index + 1:04d}.jpg", written, index)
        mat(root / "mats" / f"{index + 1:04d}.mat", written, found)
    for part, numbers in (("train", range(train)), ("val", range(train, len(points))), ("test", [7000])):
        (root / f"{part}.txt").write_text("".join(f"{number + 1:04d} 1 2\n" for number in numbers))


def dots(root: Path, points: Points, train: int, written: Written) -> None:
    for number, found in enumerate(points, 1):
        image(root / f"{number:03d}cell.png", written, number)
        written.annotations.append(root / f"{number:03d}dots.png")
        if found is not None:
            marks = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            marks[tuple(found.astype(int).T[::-1])] = (0, 0, 255)
            cv2.imwrite(str(written.annotations[-1]), marks)


def csv(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        image(root / "images" / f"photo {index}.jpg", written, index)
        path = root / "points" / f"photo {index}.csv"
        written.annotations.append(path)
        path.parent.mkdir(exist_ok=True)
        if found is not None:
            path.write_text("x,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in found.tolist()))


def clicks(root: Path, points: Points, train: int, written: Written) -> None:
    lines = ["image,x,y"]
    for index, found in enumerate(points):
        image(root / "images" / f"photo {index}.jpg", written, index)
        written.annotations.append(root / "clicks.csv")
        if found is not None:
            lines += [f"photo {index}.jpg,{x!r},{y!r}" for x, y in found.tolist()] or [f"photo {index}.jpg,,"]
    (root / "clicks.csv").write_text("\n".join([*lines, ""]))


def coco(root: Path, points: Points, train: int, written: Written) -> None:
    document: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for index, found in enumerate(points):
        image(root / "images" / f"{index:012d}.jpg", written, index)
        written.annotations.append(root / "annotations" / "instances.json")
        if found is not None:
            facts = {"id": 100 + index, "file_name": f"{index:012d}.jpg", "width": WIDTH, "height": HEIGHT}
            document["images"].append(facts)
            for x, y in found.tolist():
                thing = {"image_id": 100 + index, "category_id": 1, "bbox": [x - 3, y - 2, 6, 4]}
                document["annotations"].append({"id": len(document["annotations"]), **thing})
    written.annotations[0].parent.mkdir(parents=True, exist_ok=True)
    written.annotations[0].write_text(json.dumps(document))


def labelme(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        path = image(root / f"photo{index}.jpg", written, index).with_suffix(".json")
        written.annotations.append(path)
        if found is not None:
            shapes = [{"label": "head", "points": [point], "shape_type": "point"} for point in found.tolist()]
            facts = {"imagePath": f"photo{index}.jpg", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
            path.write_text(json.dumps({"version": "5.0.1", "flags": {}, "shapes": shapes, **facts}))


def cvat(root: Path, points: Points, train: int, written: Written) -> None:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    for index, found in enumerate(points):
        image(root / "images" / f"photo{index}.jpg", written, index)
        written.annotations.append(root / "annotations.xml")
        if found is not None:
            lines.append(f'<image id="{index}" name="photo{index}.jpg" width="{WIDTH}" height="{HEIGHT}">')
            pairs = ";".join(f"{x!r},{y!r}" for x, y in found.tolist())
            lines += [f'<points label="head" occluded="0" points="{pairs}" z_order="0"></points>'] if pairs else []
            lines.append("</image>")
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>\n"]))


def voc(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        image(root / "JPEGImages" / f"{index:06d}.jpg", written, index)
        path = root / "Annotations" / f"{index:06d}.xml"
        written.annotations.append(path)
        path.parent.mkdir(exist_ok=True)
        if found is not None:
            things = "".join(
                f"<object><name>person</name><bndbox><xmin>{x - 4!r}</xmin><ymin>{y - 5!r}</ymin>"
                f"<xmax>{x + 4!r}</xmax><ymax>{y + 5!r}</ymax></bndbox></object>\n"
                for x, y in found.tolist()
            )
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
            path.write_text(f"<annotation>\n<filename>{index:06d}.jpg</filename>{size}\n{things}</annotation>\n")


def masks(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        image(root / "images" / f"photo {index}.jpg", written, index)
        path = root / "masks" / f"photo {index}.png"
        written.annotations.append(path)
        path.parent.mkdir(exist_ok=True)
        if found is not None:
            marks = np.zeros((HEIGHT, WIDTH), np.uint16)
            marks[tuple(found.astype(int).T[::-1])] = np.arange(1, len(found) + 1)
            cv2.imwrite(str(path), marks)


def mat_points(root: Path, points: Points, train: int, written: Written) -> None:
    for index, found in enumerate(points):
        image(root / "images" / f"photo {index}.jpg", written, index)
        mat(root / "points" / f"photo {index}_ann.mat", written, found, "cells")


WRITERS: dict[str, Callable[[Path, Points, int, Written], None]] = {
    writer.__name__: writer
    for writer in (
        *(shanghaitech, ucf_cc_50, ucf_qnrf, worldexpo, mall, jhu_crowd, nwpu, dots),
        *(csv, clicks, coco, labelme, cvat, voc, masks),
    )
} | {"mat": mat_points}
#: layouts of which one file annotates all images, so that damage to it is damage to all
SHARED = {"mall", "clicks", "coco", "cvat"}
TRAIN = 3


def write(layout: str, root: Path, points: Points) -> Written:
    """Write a set whose first three images are for training, where the layout has parts."""
    root.mkdir()
    written = Written()
    WRITERS[layout](root, points, TRAIN, written)
    return written
