import pytest

from nni_count.comparing.published import (
    SHA,
    SHB,
    UCF_CC_50,
    UCF_QNRF,
    WORLDEXPO,
    ablation,
    counterpart,
    dataset_of,
    notes,
    rows,
)
from nni_count.networks import NETWORKS


def row_of(method, data):
    return next(row for row in rows(data) if row.method == method)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ShanghaiTech part_A_final", SHA),
        ("ShanghaiTech part_B", SHB),
        ("UCF_CC_50 fold 2 (in order)", UCF_CC_50),
        ("UCFQNRF UCF-QNRF_ECCV18", UCF_QNRF),
        ("WorldExpo worldexpo10 scene 104207", WORLDEXPO),
        ("SyntheticCrowds synthetic", None),
        ("", None),
    ],
)
def test_the_data_set_is_known_by_the_name_of_a_report(name, data):
    assert dataset_of(name) == data


def test_the_tables_say_what_the_paper_says():
    best = row_of("AMSNet", SHA)
    assert (best.mae, best.rmse, best.psnr, best.ssim, best.parameters) == (58.0, 96.2, 26.96, 0.89, 3_790_000)
    assert (row_of("TEDNet", UCF_QNRF).mae, row_of("TEDNet", UCF_QNRF).psnr) == (113, None)
    assert row_of("Switch-CNN", SHA).rmse is None
    assert "CSRNet" not in [row.method for row in rows(UCF_QNRF)]
    assert [len(rows(data)) for data in (SHA, SHB, UCF_CC_50, UCF_QNRF, WORLDEXPO)] == [12, 10, 10, 5, 7]
    assert rows("moon") == []
    for row in rows(WORLDEXPO):
        assert len(row.scenes) == 5
        assert sum(row.scenes) / 5 == pytest.approx(row.mae, abs=0.06)


def test_every_network_that_is_named_exists():
    assert {row.network for data in (SHA, WORLDEXPO) for row in rows(data) if row.network} <= set(NETWORKS)


def report(**changes):
    base = {
        "data": "ShanghaiTech part_A_final",
        "split": "test",
        "network": {"name": "amsnet", "settings": {}},
        "parameters": 1_500_000,
        "psnr": 25.0,
        "map_protocol": "csrnet: long words",
        "model": {"seconds": 600, "steps": 1000, "training_images": 270, "validation_images": 30},
    }
    return {**base, **changes}


def test_a_report_finds_the_row_of_its_network():
    assert counterpart(report()).method == "AMSNet light"
    assert counterpart(report(parameters=3_700_000)).method == "AMSNet"
    assert counterpart(report(network={"name": "mcnn", "settings": {}})).method == "MCNN"
    assert counterpart(report(network={"name": "mine", "settings": {}})) is None
    assert counterpart(report(data="SyntheticCrowds synthetic")) is None
    network = {"name": "ablation", "settings": {"encoder": "amsnet", "decoder": "baseline"}}
    assert counterpart(report(network=network, model={"loss": {"mse": 1.0}})).mae == 60.8
    assert counterpart(report(network=network, model={"loss": {"sal": 1.0}})) is None
    assert len(ablation()) == 6


def test_notes_name_what_differs_and_nothing_else():
    found = notes(report(parameters=77_529), row_of("AMSNet", SHA))
    assert [note.partition(":")[0] for note in found] == ["data", "budget", "size", "protocol"]
    assert "30 of 300" in found[0]
    assert "10.0 min, 1,000 steps" in found[1]
    assert "77,529 parameters, published 3.79M" in found[2]
    assert "csrnet" in found[3]
    assert notes({"split": "test"}, row_of("SANet", SHB)) == []
    assert "train part" in notes({"split": "train"}, row_of("SANet", SHB))[0]
